import { writeFile } from 'node:fs/promises';
import type { Selection } from '../config/selection.js';
import { ConfigurationError, PipelineError, UsageError, describeError } from '../shared/errors.js';
import { codeOf, openRegular } from '../shared/files.js';
import { parseMonth, timePeriod } from '../shared/month.js';
import { writeAside } from '../staging/aside.js';
import { inTurn } from '../staging/in-turn.js';
import type { RunRecord } from './record.js';

/**
 * A run in figures for Prometheus, as a file of node_exporter's textfile collector. Prometheus knows floating point
 * numbers alone: the exact amounts stand in the record, the exports and the database.
 */

/** What a gauge tells of, and so when it takes the place of what the file said before. */
type Part =
  /** The last run, whatever it did. */
  | 'run'
  /** The last run that worked on the organization. */
  | 'work'
  /** The last one that did all it was to do of it. */
  | 'success'
  /** The newest of its months that a run came to the rows of. */
  | 'figures';

interface Declared {
  of: Part;
  help: string;
  labels: readonly string[];
}

const ofRun = (help: string, ...labels: string[]): Declared => ({ of: 'run', help, labels });
const ofOrganization = (of: Part, help: string, ...labels: string[]): Declared => ({
  ...{ of, help },
  labels: ['organization', ...labels],
});

const PREFIX = 'aws_billing_pipeline_';

/**
 * Every metric without {@link PREFIX}, in the order of the file. An organization has the figures of one month, or a
 * backfill would make some thousand series; docs/operations.md shows the table.
 */
export const metrics = {
  build_info: ofRun('The version of the pipeline that ran last, as a label; always 1', 'version'),
  run_end_timestamp_seconds: ofRun('When the last run ended, however it did'),
  run_duration_seconds: ofRun('How long the last run took'),
  run_exit_code: ofRun('Exit code of the last run: 0 when all was done'),
  run_requests: ofRun('Cost Explorer requests of the last run that AWS charges for, $0.01 each'),
  run_tasks: ofRun('Tasks of the last run, by how they ended', 'state'),
  last_success_timestamp_seconds: ofOrganization(
    'success',
    'When a run last ended that did all it was to do of the organization',
  ),
  failed_tasks: ofOrganization(
    'work',
    'Tasks of the organization that failed in the last run that worked on it',
  ),
  work_seconds: ofOrganization('work', 'How long the tasks of that run took, one after the other'),
  month_timestamp_seconds: ofOrganization(
    'figures',
    'Begin of the newest month that was worked on, which the following metrics are of',
  ),
  rows: ofOrganization('figures', 'Rows of consumption of the month'),
  amount: ofOrganization('figures', 'Sum of the rows, in units of the currency', 'currency'),
  difference: ofOrganization(
    'figures',
    "AWS's own total minus the rows; absent where it was not asked for",
    'currency',
  ),
  provisional: ofOrganization('figures', '1 while AWS may still change the figures, else 0'),
} as const satisfies Record<string, Declared>;
type Name = keyof typeof metrics;

const names = Object.keys(metrics) as Name[];

/** One line of the file. */
interface Sample {
  name: Name;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/**
 * Sees to it that the file can be written, before anything is paid for.
 * @throws {UsageError} when node_exporter would not read it, or it is somebody else's.
 */
export async function checkMetricsFile(file: string): Promise<void> {
  const where = '--metrics';
  if (!file.endsWith('.prom'))
    throw new UsageError("the metrics' file has to end in .prom: node_exporter reads no other", {
      where,
      next: 'name such a file; a metric of cost, such as AmortizedCost, is named with --metric',
    });
  try {
    // Where no turn can be taken now, the file cannot be replaced at the end either.
    await inTurn(file, async () => {
      const former = await readFormer(file);
      parseSamples(file, former);
      // What stands there keeps its time of change until then.
      if (former === '') await writeMetrics(file, '');
    });
  } catch (cause) {
    const why = cause instanceof PipelineError ? cause.message : describeError(cause);
    throw new UsageError(`the metrics cannot be written: ${why}`, {
      where: `${where} ${file}`,
      next: 'name a file of its own, in a folder that this user may write to',
      cause,
    });
  }
}

/**
 * Writes the file with what this run tells, and of other organizations what it said before, also where several runs
 * end at once.
 * @param selection what the run was asked to do; `undefined` where that is not known.
 * @throws {ConfigurationError} when it cannot be written, or is somebody else's.
 * @throws {TransientError} when other runs did not come to an end with it.
 */
export async function exportMetrics(
  file: string,
  record: RunRecord,
  selection: Selection | undefined,
): Promise<void> {
  // What is not among all organizations that there are is no more.
  const isWhole =
    record.slices.length > 0 &&
    selection?.organizations === undefined &&
    selection?.stages.includes('extract') === true;
  await inTurn(file, async () => {
    const former = parseSamples(file, await readFormer(file));
    await writeMetrics(file, await format(merged(former, record, isWhole)));
  });
}

/** Bytes of such a file at most: some thousand organizations have a tenth of it. */
const LONGEST = 16 * 1024 * 1024;

/** The file's text; '' where there is none, and of a folder, which is refused when it is written. */
async function readFormer(file: string): Promise<string> {
  const opened = await openRegular(file).catch((cause: unknown) => {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw cause;
  });
  if (opened === undefined) return '';
  try {
    if (opened.size > LONGEST) throw foreign(file);
    return await opened.file.readFile('utf8');
  } finally {
    await opened.file.close();
  }
}

async function writeMetrics(file: string, text: string): Promise<void> {
  await writeAside(file, (aside) => writeFile(aside, text));
}

function merged(former: readonly Sample[], record: RunRecord, isWhole: boolean): Sample[] {
  const before = former.flatMap(({ labels: { organization } }) => organization ?? []);
  const own = record.slices.map(({ organization }) => organization);
  const organizations = new Set([...(isWhole ? [] : before), ...own]);
  return [
    ...samplesOfRun(record),
    ...[...organizations].sort().flatMap((organization) => {
      const slices = record.slices.filter((slice) => slice.organization === organization);
      return newest(
        former.filter(({ labels }) => labels['organization'] === organization),
        samplesOf(organization, slices, record),
      );
    }),
  ];
}

/** What is said of an organization now, and what of the file still holds beside it. */
function newest(former: readonly Sample[], said: readonly Sample[]): Sample[] {
  const monthOf = (samples: readonly Sample[]): number =>
    samples.find(({ name }) => name === 'month_timestamp_seconds')?.value ?? -Infinity;
  // A run of an older month tells nothing of the newest one.
  const isOlder = monthOf(said) < monthOf(former);
  const now = said.filter(({ name }) => !isOlder || metrics[name].of !== 'figures');
  const parts = new Set<Part>(now.map(({ name }) => metrics[name].of));
  return [...now, ...former.filter(({ name }) => !parts.has(metrics[name].of))];
}

function samplesOfRun({ version, ended, seconds, exitCode, requests, tasks }: RunRecord): Sample[] {
  return [
    { name: 'build_info', labels: { version }, value: 1 },
    { name: 'run_end_timestamp_seconds', labels: {}, value: Date.parse(ended) / 1000 },
    { name: 'run_duration_seconds', labels: {}, value: seconds },
    { name: 'run_exit_code', labels: {}, value: exitCode },
    { name: 'run_requests', labels: {}, value: requests },
    ...Object.entries(tasks).map(([state, value]): Sample => ({
      name: 'run_tasks',
      labels: { state },
      value,
    })),
  ];
}

/** @param slices those of the organization; none where the run did not work on it. */
function samplesOf(
  organization: string,
  slices: RunRecord['slices'],
  { ended, failures }: RunRecord,
): Sample[] {
  if (slices.length === 0) return [];
  const sample = (name: Name, value: number, more = {}): Sample => ({
    name,
    labels: { organization, ...more },
    value,
  });
  const money = (name: Name, amounts: Readonly<Record<string, string>> = {}): Sample[] =>
    Object.entries(amounts).map(([currency, amount]) => sample(name, Number(amount), { currency }));
  const isSuccess = slices.every(({ state }) => state === 'done' || state === 'unchanged');
  const failed = failures.filter((failure) => failure.organization === organization).length;
  const seconds = slices.reduce((sum, slice) => sum + slice.seconds, 0);
  const last = slices
    .filter(({ rows }) => rows !== undefined)
    .sort((a, b) => (a.month < b.month ? -1 : 1))
    .at(-1);
  return [
    ...(isSuccess ? [sample('last_success_timestamp_seconds', Date.parse(ended) / 1000)] : []),
    sample('failed_tasks', failed),
    sample('work_seconds', seconds),
    ...(last === undefined
      ? []
      : [
          sample('month_timestamp_seconds', startOf(last.month)),
          sample('rows', last.rows ?? 0),
          ...money('amount', last.amounts),
          ...money('difference', last.differences),
          sample('provisional', last.provisional === true ? 1 : 0),
        ]),
  ];
}

function startOf(month: string): number {
  return Date.parse(`${timePeriod(parseMonth(month)).Start}T00:00:00Z`) / 1000;
}

/** The file's text, by prom-client. */
async function format(samples: readonly Sample[]): Promise<string> {
  const { Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  for (const name of names) {
    const { help, labels } = metrics[name];
    const gauge = new Gauge<string>({
      name: PREFIX + name,
      help,
      labelNames: labels,
      registers: [registry],
    });
    for (const one of samples) if (one.name === name) gauge.set(one.labels, one.value);
  }
  return registry.metrics();
}

const line = /^(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)$/;
const label = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/**
 * Reads the file back. A metric of ours that is no more is left out.
 * @throws {ConfigurationError} when there is anything else in it.
 */
function parseSamples(file: string, text: string): Sample[] {
  return text
    .split('\n')
    .filter((one) => one !== '' && !one.startsWith('#'))
    .flatMap((one) => {
      const [, full = '', within = '', number = ''] = line.exec(one) ?? [];
      const value = Number(number);
      if (!full.startsWith(PREFIX) || number === '' || Number.isNaN(value)) throw foreign(file);
      const name = names.find((known) => PREFIX + known === full);
      if (name === undefined) return [];
      const labels = Object.fromEntries(
        [...within.matchAll(label)].map(([, key = '', said = '']) => [key, unescaped(said)]),
      );
      const expected: readonly string[] = metrics[name].labels;
      if (Object.keys(labels).join() !== expected.join()) throw foreign(file);
      return [{ name, labels, value }];
    });
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, (_, one: string) => (one === 'n' ? '\n' : one));
}

function foreign(file: string): ConfigurationError {
  return new ConfigurationError('what stands in the file is not of this pipeline', {
    where: file,
    next: 'name a file of its own, or remove this one',
  });
}
