import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import type { Config } from '../config/config.js';
import { selectStaged } from '../config/selection.js';
import type { SettingValues } from '../config/settings.js';
import { UsageError, describeError } from '../shared/errors.js';
import { readInput } from '../shared/files.js';
import type { Month } from '../shared/month.js';
import { printable } from '../shared/printable.js';
import type { Look } from '../report/figures.js';
import type { WrittenMonth } from '../report/report-files.js';
import type { Staging } from '../staging/staging.js';
import { command, configure, flags, pick } from './command.js';

/** `pipeline report`: the month as a page, a statement for each customer, a workbook. */
export const report = command({
  name: 'report',
  describe: "Make the month's page, each customer's statement and a workbook; AWS is not asked",
  flags: {
    month: {
      ...flags.month,
      describe: 'Month YYYY-MM, repeatable (default: the last that is transformed)',
    },
    ...pick(
      'from',
      'to',
      'organization',
      'customer',
      'format',
      'out',
      'staging',
      'config',
      'timeout',
      'json',
      'log-file',
      'log-level',
    ),
  },
  examples: [
    ['report', 'the last month that is transformed, into ./report'],
    [
      'report --month 2026-10 --format html,xlsx,pdf',
      'as PDF too, with the Chromium that is there',
    ],
    ['report --customer 000456789012', 'the statement of one customer'],
  ],
  epilogue:
    'Reads the Parquet exports and manifests alone. The trend shows up to 12 months before. An organization that is missing or stale is marked on the page; altered exports are an error.',
  async work(args, { signal, open }) {
    const config = await configure(args, { organizations: false, database: false });
    const { customer: customers } = args;
    if (customers !== undefined && config.report.formats.every((format) => format === 'xlsx'))
      throw new UsageError('--customer goes with the formats html and pdf', {
        where: '--format',
        next: 'leave out --customer: the workbook holds every customer',
      });
    const { staging } = await open(config);
    const chosen = { ...selectStaged(args, new Date()), customers, staging, signal };
    const written = await makeReportsOf(config, chosen);
    return {
      text: () => reportText(written),
      json: () => reportJson(written),
      failed: false,
    };
  },
});

/** Which reports are made. */
export interface ChosenReports {
  staging: Staging;
  /** `undefined`: the last month that is transformed. */
  months: readonly Month[] | undefined;
  organizations: readonly string[] | undefined;
  /** `undefined`: all, and the month's page and workbook. */
  customers: readonly string[] | undefined;
  signal: AbortSignal;
  /** Default: the machine's clock. */
  now?: () => Date;
}

/** Makes the reports as the settings want them. */
export async function makeReportsOf(
  config: Config,
  chosen: ChosenReports,
): Promise<WrittenMonth[]> {
  const { makeReports } = await import('../report/report-files.js');
  const { report: settings, customers: groups, organizations, provisionalDays } = config;
  return makeReports({
    now: () => new Date(),
    ...chosen,
    ...{ groups, provisionalDays, formats: settings.formats },
    folder: resolve(settings.out),
    look: await readLook(settings),
    configured: organizations.map(({ name }) => name),
  });
}

/** What was made, for people: the page to open comes last. */
export function reportText(written: readonly WrittenMonth[]): string {
  const lines = written.flatMap(({ month, state, folder, statements, workbook, gaps }) => [
    `${month} (${state}): ${statements} statements${workbook === null ? '' : ` and ${workbook}`} in ${folder}`,
    ...gaps.map(({ organization, reason, command: next }) =>
      printable(`  ${organization} ${reason ?? ''}${next === null ? '' : `; run "${next}"`}`),
    ),
  ]);
  const newest = written.findLast(({ page }) => page !== null);
  if (newest?.page != null)
    lines.push(`open ${pathToFileURL(resolve(newest.folder, newest.page)).href}`);
  return lines.join('\n');
}

/** The same as one document, with every file. */
export function reportJson(written: readonly WrittenMonth[]): unknown {
  return { months: written };
}

/** Most bytes of a logo: it is in every page. */
const LARGEST_LOGO = 256 * 1024;

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * What the settings say of a report's look, the logo read and turned into an address that asks for nothing.
 * @throws {UsageError} when the logo cannot be read, or is neither a PNG nor an SVG file.
 */
async function readLook(settings: SettingValues['report']): Promise<Look> {
  const { title = null, footer = null, logo, locale, currency } = settings;
  return {
    title,
    footer,
    locale,
    currency,
    logo: logo === undefined ? null : await readLogo(logo),
  };
}

async function readLogo(file: string): Promise<string> {
  const fault = (what: string, cause?: unknown): UsageError =>
    new UsageError(`"report.logo" in the configuration file: ${what}`, {
      where: file,
      next: `name a PNG or SVG file of at most ${LARGEST_LOGO / 1024} KiB`,
      cause,
    });
  let bytes: Buffer;
  try {
    bytes = await readInput(file);
  } catch (cause) {
    throw fault(`the logo cannot be read: ${describeError(cause)}`, cause);
  }
  if (bytes.length > LARGEST_LOGO) throw fault(`the logo has ${bytes.length} bytes`);
  // As an image, an SVG runs no script and asks for nothing (SVG 2, secure static mode).
  const type = PNG.every((byte, index) => bytes[index] === byte)
    ? 'image/png'
    : /^\s*(?:<\?xml[^>]*>\s*)?(?:<!--[^]*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]/.test(
          bytes.subarray(0, 4096).toString('utf8'),
        )
      ? 'image/svg+xml'
      : undefined;
  if (type === undefined) throw fault('the logo is neither PNG nor SVG');
  return `data:${type};base64,${bytes.toString('base64')}`;
}
