import type { CommandModule, InferredOptionTypes } from 'yargs';
import type { Config } from '../config/config.js';
import type { Selection } from '../config/selection.js';
import { select } from '../config/selection.js';
import type { OrganizationChanges } from '../inspect/restatements.js';
import { advice } from '../shared/commands.js';
import { DataError, UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { print, printDocument, tell } from '../shared/output.js';
import { printable, printableLines } from '../shared/printable.js';
import { configure } from './configure.js';
import { selectionOptions, settingOptions } from './options.js';

const options = {
  month: { ...selectionOptions.month, describe: 'Month YYYY-MM (default: the last complete one)' },
  organization: selectionOptions.organization,
  since: {
    type: 'string',
    requiresArg: true,
    describe: 'Extraction or date to compare from (default: the one before the other)',
  },
  until: {
    type: 'string',
    requiresArg: true,
    describe: 'Extraction or date to compare with (default: the newest)',
  },
  staging: settingOptions.staging,
  config: settingOptions.config,
  timeout: settingOptions.timeout,
  json: settingOptions.json,
  csv: { type: 'boolean', default: false, describe: 'Print every change as CSV' },
} as const;

type Arguments = InferredOptionTypes<typeof options>;

/** `pipeline changes`: what AWS changed in a month from one of its extractions to another. */
export const changes: CommandModule<object, Arguments> = {
  command: 'changes',
  describe: 'Show what changed in a month from one extraction to another',
  builder: (yargs) =>
    yargs
      .options(options)
      .example('$0 changes --month 2026-10', 'the newest extraction against the one before')
      .example(
        '$0 changes --month 2026-10 --since 2026-11-02',
        'all that changed since the figures of 2 November',
      ),
  async handler(args) {
    const selection = select({ month: args.month, organization: args.organization }, new Date());
    const points = await checkUsage(args, selection);
    const config = await configure(args, { organizations: false, database: false });
    const { changesLines, changesToJson, uncomparedLines, writeChangesCsv } =
      await import('../inspect/restatements-report.js');
    const found = await find(config, selection, points);
    if (args.json) {
      await printDocument(changesToJson(points.month, found));
    } else if (args.csv) {
      // A program gets the texts as they are, a terminal does not.
      const write = process.stdout.isTTY
        ? (chunk: string | Uint8Array) => print(printableLines(Buffer.from(chunk).toString()))
        : print;
      await writeChangesCsv({ write }, points.month, found);
      for (const line of uncomparedLines(found)) tell(`${printable(line)}\n`);
    } else {
      for (const line of changesLines(points.month, found))
        await print(printableLines(`${line}\n`));
    }
  },
};

interface Points {
  month: Month;
  since: string | undefined;
  until: string | undefined;
}

/** @throws {UsageError} on several months, a text that is no moment, or moments the wrong way round. */
async function checkUsage(
  { since, until, json, csv }: Arguments,
  { months }: Selection,
): Promise<Points> {
  const [month, ...more] = months;
  if (month === undefined || more.length > 0)
    throw new UsageError('the changes of one month at a time', { next: 'give one --month' });
  if (json && csv)
    throw new UsageError('--json does not go with --csv', { next: 'use one or the other' });
  const { parseMoment } = await import('../inspect/restatements.js');
  const points = {
    month,
    since: since === undefined ? undefined : parseMoment(since),
    until: until === undefined ? undefined : parseMoment(until),
  };
  if (points.since !== undefined && points.until !== undefined && points.since >= points.until)
    throw new UsageError('--since is not before --until', { next: 'swap the two' });
  return points;
}

async function find(
  config: Config,
  { organizations }: Selection,
  points: Points,
): Promise<OrganizationChanges[]> {
  const { openStaging } = await import('../staging/open.js');
  const { stagedOrganizations } = await import('../run/resources.js');
  const { findChanges } = await import('../inspect/restatements.js');
  const staging = await openStaging(config.staging, config.stagingOptions);
  const staged = await stagedOrganizations(staging, points.month, 'raw');
  if (staged.length === 0) {
    throw new DataError(`nothing is staged for ${points.month}`, {
      where: staging.location,
      ...advice(
        'fetch the month with',
        { months: [points.month], ...(organizations === undefined ? {} : { organizations }) },
        ', or name another folder with --staging',
      ),
    });
  }
  const unknown = organizations?.filter((name) => !staged.includes(name)) ?? [];
  if (unknown.length > 0) {
    throw new UsageError(`nothing is staged of ${unknown.join(', ')} for ${points.month}`, {
      next: `choose among ${staged.join(', ')}`,
    });
  }
  return findChanges({
    staging,
    organizations: organizations ?? staged,
    ...points,
    provisionalDays: config.provisionalDays,
    signal: new AbortController().signal,
  });
}
