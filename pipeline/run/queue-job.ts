import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { Config } from '../config/config.js';
import { scopeOf, tagOf } from '../config/config.js';
import type { Stage } from '../config/selection.js';
import { stages } from '../config/selection.js';
import { nameOf } from '../config/settings.js';
import {
  BudgetError,
  ConfigurationError,
  DataError,
  DifferenceError,
  InterruptedError,
  PipelineError,
  TransientError,
  UsageError,
  describeError,
} from '../shared/errors.js';
import { formatAmount } from '../shared/money.js';
import { isMonth } from '../shared/month.js';
import { printable } from '../shared/printable.js';
import type { OrganizationView } from '../shared/scope.js';
import { version } from '../shared/version.js';
import type { Slice } from '../staging/layout.js';
import { parseOrganizationName } from '../staging/layout.js';
import type { TaskReport } from './task.js';

/**
 * What goes through the queue: a job, which is some stages of a slice, and what became of it. Neither holds a
 * secret, and each is believed only once it was parsed.
 */

/** Characters of a setting that is held in plain, and of its path, which may name an organization. */
const LONGEST_SETTING = 100;

/** Characters of a text for people: an error names every file or setting that is wrong. */
const LONGEST_TEXT = 4_000;

const month = z.string().refine(isMonth);
const organization = z.string().refine(isOrganizationName);
/** What is shown of it is short and harmless, whoever has written it into Redis. */
const text = z.string().transform((value) => printable(value).slice(0, LONGEST_TEXT));

const jobData = z.strictObject({
  /** The version of the pipeline that asks. */
  version: z.string(),
  run: z.uuid(),
  month,
  organization,
  stages: z.array(z.enum(stages)).min(1),
  /** All that the run does of the slice, in this job or another: what it depends on is asked for before anything is paid. */
  chain: z.array(z.enum(stages)).min(1),
  force: z.literal(true).optional(),
  acceptEmpty: z.literal(true).optional(),
  /** The newest finished extraction when a forced run was asked for: a newer one is what it asked for. */
  before: z.string().optional(),
  /** The run's limit of requests to Cost Explorer, which are counted in Redis. */
  maxRequests: z.int().min(0).optional(),
  /** The settings that the result depends on, see {@link askedSettings}. */
  settings: z
    .record(z.string().max(LONGEST_SETTING), z.string().max(LONGEST_SETTING))
    .refine((all) => Object.keys(all).length < 50),
});

function isOrganizationName(name: string): boolean {
  try {
    return parseOrganizationName(name) === name;
  } catch {
    return false;
  }
}

/** A job as it stands in the queue: a few hundred bytes. */
export type JobData = z.output<typeof jobData>;

/**
 * Reads a job from the queue.
 * @throws {ConfigurationError} when another version asked that may mean something else by it.
 * @throws {DataError} when it is no job of ours.
 */
export function parseJob(data: unknown): JobData {
  const asked = z.object({ version: z.string() }).safeParse(data).data?.version;
  if (asked !== undefined && releaseOf(asked) !== releaseOf(version)) {
    throw new ConfigurationError(
      `the job was asked for by version ${printable(asked.slice(0, 40))}, and this worker is version ${version}`,
      { next: 'let all machines run the same version' },
    );
  }
  try {
    return jobData.parse(data);
  } catch (cause) {
    throw new DataError('the job in the queue is none of the pipeline', {
      next: 'see who else uses this database of Redis; give the queue one of its own',
      cause,
    });
  }
}

/** What of a version has to be the same: its major number; before the first release, its minor one. */
function releaseOf(text: string): string {
  const [major = '', minor = ''] = text.split('.');
  return major === '0' ? `0.${minor}` : major;
}

/** Which settings a stage's result depends on, by their paths. */
const dependencies: Readonly<
  Record<Stage, (config: Config, organization: string) => Readonly<Record<string, unknown>>>
> = {
  extract: (config, name) => ({
    ...scopeOf(config.scope, name),
    awsTotal: config.awsTotal,
    tolerance: formatAmount(config.tolerance),
  }),
  transform: ({ parquet, tags }, name) => ({ parquet, tags: tagOf(tags, name) }),
  load: ({ database, tolerance }) => ({
    database: databaseText(database),
    tolerance: formatAmount(tolerance),
  }),
};

/**
 * The settings that the result of a job depends on, as texts by the settings' paths: what the run has and each of
 * its workers must have too. A long one is a digest; none is a secret.
 * @param view the organization's own part of what is fetched, for a job that fetches.
 */
export function askedSettings(
  config: Config,
  name: string,
  chosen: readonly Stage[],
  view?: OrganizationView,
): Record<string, string> {
  const { staging, provisionalDays } = config;
  const place =
    staging.kind === 's3'
      ? `s3://${[staging.bucket, staging.prefix].filter((part) => part !== '').join('/')}`
      : resolve(staging.folder);
  const own = Object.entries(view ?? {}).map(([field, value]) => {
    return [`organizations.${name}.${field}`, value ?? undefined];
  });
  const values = Object.assign(
    { staging: place, provisionalDays },
    ...chosen.map((stage) => dependencies[stage](config, name)),
    Object.fromEntries(own),
  ) as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(values)
      .filter(([, value]) => value !== undefined)
      .map(([path, value]) => [path, shortText(value)]),
  );
}

/** Where the database lies, without user and password. */
function databaseText(database: Config['database']): string {
  if (database.kind === 'secret') return `the secret ${database.path}`;
  const { location } = database;
  return location.kind === 'sqlite'
    ? `sqlite:${resolve(location.file)}`
    : `mysql://${location.host}:${location.port}/${location.database}`;
}

function shortText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (text.length <= LONGEST_SETTING) return text;
  return `sha256 ${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}

/**
 * Holds the settings that a job asks for against the worker's own.
 * @param view see {@link askedSettings}.
 * @throws {ConfigurationError} naming every one that differs.
 */
export function refuseOthers(job: JobData, config: Config, view?: OrganizationView): void {
  const asked = new Map(Object.entries(job.settings));
  const own = new Map(Object.entries(askedSettings(config, job.organization, job.chain, view)));
  const paths = new Set([...asked.keys(), ...own.keys()]);
  const different = [...paths].filter((path) => asked.get(path) !== own.get(path)).sort();
  if (different.length === 0) return;
  const shown = (text: string | undefined): string =>
    text === undefined ? 'none' : printable(text);
  const told = different.map((path) => {
    return `${printable(nameOf(path))} is ${shown(asked.get(path))} for the run and ${shown(own.get(path))} for this worker`;
  });
  throw new ConfigurationError(`the worker has other settings than the run: ${told.join('; ')}`, {
    next: 'start workers and run with the same configuration',
  });
}

const classes = {
  TransientError,
  BudgetError,
  ConfigurationError,
  UsageError,
  DataError,
  DifferenceError,
} as const;

const nextRun = z.object({
  stages: z.array(z.enum(stages)).optional(),
  flags: z.array(text).optional(),
  months: z.array(month).optional(),
  organizations: z.array(organization).optional(),
});

const wireError = z.object({
  class: z.string(),
  message: text,
  where: text.optional(),
  next: text.optional(),
  command: nextRun.optional(),
});

/** An error on its way to whoever follows the run, who shows the command in it with flags of its own. */
export type WireError = z.output<typeof wireError>;

/** An error as data; of one that is not ours, its text without secrets. */
export function errorToWire(error: unknown): WireError {
  if (!(error instanceof PipelineError)) return { class: 'Error', message: describeError(error) };
  const { name, message, where, next, command } = error;
  return wireError.parse({ class: name, message, where, next, command });
}

/** The error again. */
export function errorFromWire({ class: name, message, ...details }: WireError): Error {
  if (name === 'InterruptedError') return new InterruptedError();
  const Known = Object.hasOwn(classes, name) ? classes[name as keyof typeof classes] : undefined;
  if (Known === undefined) return new Error(message);
  return new Known(message, JSON.parse(JSON.stringify(details)) as object);
}

const amounts = z.record(text, z.string().regex(/^-?\d{1,38}(\.\d{1,38})?$/));

const wireReport = z.object({
  month,
  organization,
  stage: z.enum(stages),
  state: z.enum(['done', 'unchanged', 'failed', 'skipped']),
  outcome: z
    .object({
      state: z.enum(['done', 'unchanged']),
      extraction: text,
      provisional: z.boolean(),
      customers: z.number(),
      unlisted: z.number(),
      rows: z.number(),
      totals: amounts,
      differences: amounts.optional(),
    })
    .optional(),
  error: wireError.optional(),
  requests: z.int(),
  seconds: z.number(),
});

const warning = z.object({
  msg: text,
  month: month.optional(),
  organization: organization.optional(),
  stage: z.enum(stages).optional(),
  where: text.optional(),
});

/** Warnings of one job that are told. */
const MOST_WARNINGS = 100;

const result = z.object({
  reports: z.array(wireReport),
  warnings: z.array(warning).max(MOST_WARNINGS),
});

/** What became of a job: the reports of its tasks, and what its log warned of. */
export interface JobResult {
  reports: readonly TaskReport[];
  warnings: readonly z.output<typeof warning>[];
}

export type WireResult = z.output<typeof result>;

export function resultToWire(reports: readonly TaskReport[], warnings: readonly unknown[]) {
  const told = reports.map(({ error, ...report }) => ({
    ...report,
    ...(error === undefined ? {} : { error: errorToWire(error) }),
  }));
  const warned = warnings.filter((one) => warning.safeParse(one).success);
  return result.parse({ reports: told, warnings: warned.slice(0, MOST_WARNINGS) });
}

/** A job's result out of the queue; `undefined` where what stands there is not the one of these stages of the slice. */
export function parseResult(
  data: unknown,
  slice: Slice,
  asked: readonly Stage[],
): JobResult | undefined {
  const parsed = result.safeParse(data);
  if (!parsed.success) return undefined;
  const { reports, warnings } = parsed.data;
  const isWhole =
    reports.length === asked.length &&
    reports.every(({ month: of, organization: name, stage }, index) => {
      return of === slice.month && name === slice.organization && stage === asked[index];
    });
  if (!isWhole) return undefined;
  return {
    warnings,
    reports: reports.map(({ error, outcome, ...report }) => ({
      ...report,
      ...(outcome === undefined ? {} : { outcome }),
      ...(error === undefined ? {} : { error: errorFromWire(error) }),
    })),
  };
}

/** How far a job is, as the queue holds it. */
export const jobProgress = z.discriminatedUnion('is', [
  z.object({
    is: z.literal('at'),
    stage: text,
    text,
    share: z.number().min(0).max(1).optional().catch(undefined),
  }),
  z.object({ is: z.literal('waiting'), for: z.enum(['slice', 'organization']), why: text }),
  z.object({ is: z.literal('again'), why: text }),
  z.object({ is: z.literal('failed'), result: z.unknown() }),
]);
export type JobProgress = z.output<typeof jobProgress>;

/** The job as people know it: `2026-10.oab`. */
export function jobName({ month: of, organization: name }: Slice): string {
  return `${of}.${name}`;
}

/** Its id, the same in both queues. */
export function jobId(run: string, slice: Slice): string {
  return `${run}.${jobName(slice)}`;
}

/** The older a month, the sooner its turn, also among the jobs of several runs. */
export function priorityOf({ month: of }: Slice): number {
  const [year = '', number = ''] = of.split('-');
  return Math.max(1, (Number(year) - 2000) * 12 + Number(number));
}
