import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import type { Config } from '../config/config.js';
import { selectStaged } from '../config/selection.js';
import { UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { printable } from '../shared/printable.js';
import type { WrittenMonth } from '../report/report.js';
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
  const { makeReports } = await import('../report/report.js');
  const { readLook } = await import('../report/look.js');
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
