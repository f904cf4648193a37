import pLimit from 'p-limit';
import { paidPages } from '../../extract/draft.js';
import { decideExtract } from '../../extract/extract.js';
import { checkDifference } from '../../load/aws-difference.js';
import type { OpenOptions } from '../../load/database.js';
import { openForReading } from '../../load/database.js';
import { holdsTables } from '../../load/history.js';
import { isLoaded } from '../../load/load.js';
import { findSource } from '../../load/source.js';
import { decideTransform } from '../../transform/transform.js';
import type { DatabaseLocation } from '../config/database-address.js';
import type { Config } from '../config/config.js';
import { tagOf } from '../config/config.js';
import type { Selection, Stage } from '../config/selection.js';
import { stages } from '../config/selection.js';
import type { Resources, Secrets } from '../run/resources.js';
import { once, openSecrets, stagedOrganizations, viewOf } from '../run/resources.js';
import { slicesOf } from '../run/runner.js';
import { price } from '../run/task.js';
import { subjectOf } from '../shared/commands.js';
import {
  InterruptedError,
  PipelineError,
  UsageError,
  describeError,
  errorToJson,
} from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { OrganizationView } from '../shared/scope.js';
import { formatTable } from '../shared/table.js';
import type { StagedSlice } from '../staging/extractions.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { openStaging } from '../staging/open.js';
import type { Staging } from '../staging/staging.js';
import type { Estimate } from './estimate.js';
import { estimator, noRequests, remaining } from './estimate.js';

/** What a run would do in one stage of a slice. */
export interface StagePlan {
  /** `unknown`: the database cannot be asked. `fails`: for a reason that is known now. */
  action: 'fetch' | 'resume' | 'run' | 'unchanged' | 'unknown' | 'fails' | 'skipped';
  /** In `resume`, the cost pages that are staged already. */
  stagedPages?: number;
  /** Why it fails or is not known. */
  error?: PipelineError;
}

/** What a run would do for one month of one organization. */
export interface SlicePlan extends Slice {
  stages: Partial<Record<Stage, StagePlan>>;
  estimate: Estimate;
}

export interface PlanContext {
  staging: Staging;
  config: Config;
  stages: readonly Stage[];
  force: boolean;
  /** What the secret or the configuration file lacks for an organization. */
  faults: ReadonlyMap<string, PipelineError>;
  /** Each known organization's own part of the scope. */
  views: ReadonlyMap<string, OrganizationView>;
  estimate: (slice: Slice) => Promise<Estimate>;
  /** Called only when the load stage has to be decided on. */
  loaded: () => Promise<LoadedSlices>;
  log: Log;
  now: () => Date;
}

/** Where Vault cannot be asked, any will do. */
const unknownView = { billingViewArn: undefined, listAccounts: undefined };

/** A staging area that stays as it is, whatever a stage's decision would tidy up in it. */
export function untouched(staging: Staging): Staging {
  return {
    ...staging,
    write: () => Promise.reject(new Error('a plan writes nothing')),
    remove: () => Promise.resolve(),
  };
}

/** Asks each chosen stage what it would do, given what the stages before it would. */
export async function planSlice(slice: Slice, context: PlanContext): Promise<SlicePlan> {
  const stages: SlicePlan['stages'] = {};
  let estimate = noRequests;
  for (const stage of context.stages) {
    const before = Object.values(stages);
    if (before.some(({ action }) => action === 'fails' || action === 'skipped')) {
      stages[stage] = { action: 'skipped' };
      continue;
    }
    try {
      if (stage === 'extract') {
        const planned = await planExtract(slice, context);
        stages.extract = planned.plan;
        estimate = planned.estimate;
      } else if (stage === 'transform') {
        stages.transform = await planTransform(slice, context, stages.extract);
      } else {
        stages.load = await planLoad(slice, context, stages.transform);
      }
    } catch (error) {
      if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
      stages[stage] = { action: 'fails', error };
    }
  }
  return { ...slice, stages, estimate };
}

async function planExtract(
  slice: Slice,
  { staging, force, config, faults, views, estimate, log, now }: PlanContext,
): Promise<{ plan: StagePlan; estimate: Estimate }> {
  const decision = await decideExtract({
    staging,
    slice,
    force,
    provisionalDays: config.provisionalDays,
    log,
    now,
    scope: { ...config.scope, ...(views.get(slice.organization) ?? unknownView) },
  });
  const fault = faults.get(slice.organization);
  if (fault !== undefined && decision.action !== 'unchanged') throw fault;
  const stagedPages = decision.action === 'resume' ? paidPages(decision.draft) : 0;
  return {
    // A run that was stopped before its first page has left nothing to go on with.
    plan:
      decision.action === 'resume' && stagedPages === 0
        ? { action: 'fetch' }
        : { action: decision.action, ...(stagedPages === 0 ? {} : { stagedPages }) },
    estimate: remaining(decision, await estimate(slice), config),
  };
}

async function planTransform(
  slice: Slice,
  { staging, force, config }: PlanContext,
  extract: StagePlan | undefined,
): Promise<StagePlan> {
  if (extract !== undefined && extract.action !== 'unchanged') return { action: 'run' };
  const tag = tagOf(config.tags, slice.organization);
  const { former } = await decideTransform({ staging, slice, force, tag, parquet: config.parquet });
  return { action: former === undefined ? 'run' : 'unchanged' };
}

async function planLoad(
  slice: Slice,
  { staging, force, config, loaded }: PlanContext,
  transform: StagePlan | undefined,
): Promise<StagePlan> {
  if (transform?.action === 'run') return { action: 'run' };
  const holds = await (await loaded()).holds(staging, slice);
  if (holds instanceof PipelineError) return { action: 'unknown', error: holds };
  if (holds && !force) return { action: 'unchanged' };
  checkDifference((await findSource(staging, slice)).manifest, config.tolerance);
  return { action: 'run' };
}

/** Why the first fetch by usage type cannot be told beforehand. */
const SHARED =
  'usage types of several services, or of several regions, take further requests, and which those are is known only from the first answers; --max-requests bounds a run, and the next plan goes by what was fetched';

export interface PlanRequest {
  config: Config;
  selection: Selection;
  force: boolean;
  /** Why Vault cannot be asked for the organizations; `undefined` when it can. */
  notSetUp: PipelineError | undefined;
  log: Log;
  signal: AbortSignal;
  now: () => Date;
}

/**
 * What a run of the same selection would do, by month and organization. Nothing is written, and AWS
 * is not asked.
 * @throws {PipelineError} when there is no organization to plan for, or the chosen one is unknown.
 */
export async function makePlan(
  request: PlanRequest,
): Promise<{ slices: SlicePlan[]; notes: string[] }> {
  const { config, selection, log, signal } = request;
  const staging = untouched(
    await openStaging(config.staging, { ...config.stagingOptions, signal: request.signal }),
  );
  const secrets = openSecrets(config, request);
  const loaded = once(() =>
    openLoaded(() => secrets.database(), { log, signal, timeoutMs: config.timeoutMs }),
  );
  try {
    const extracts = selection.stages.includes('extract');
    const staged = extracts ? await stagedSlices(staging) : [];
    const known = extracts
      ? await findOrganizations(staging, staged, secrets, request.notSetUp)
      : onlyStaged(staging);
    const slices = await slicesOf(known, request);
    const estimate = estimator(staging, staged, config);
    const limit = pLimit(config.concurrency);
    const context = {
      ...request,
      staging,
      stages: selection.stages,
      faults: known.faults,
      views: known.views,
      estimate,
      loaded,
    };
    const plans = await Promise.all(slices.map((slice) => limit(() => planSlice(slice, context))));
    const notes = known.note === undefined ? [] : [known.note];
    if (config.scope.detail === 'usage-type' && plans.some(({ estimate }) => !estimate.known))
      notes.push(SHARED);
    return { slices: plans, notes };
  } finally {
    await loaded.ifOpened((open) => open.close());
    await secrets.close();
  }
}

/** Tells whether slices are loaded, from a database that is only read. */
export interface LoadedSlices {
  /**
   * Whether the database holds what the transform stage left; a fault when it cannot be asked.
   * @throws {DataError} when the slice is not transformed.
   */
  holds(staging: Staging, slice: Slice): Promise<boolean | PipelineError>;
  close(): Promise<void>;
}

/** Opens the database for reading; one that is not there yet holds nothing. */
export async function openLoaded(
  locate: () => Promise<DatabaseLocation>,
  options: OpenOptions,
): Promise<LoadedSlices> {
  const database = await orFault(async () => {
    const opened = await openForReading(await locate(), options);
    if (opened === undefined || (await opened.ask(holdsTables))) return opened;
    await opened.close();
    return undefined;
  });
  return {
    async holds(staging, slice) {
      const source = await findSource(staging, slice);
      if (database === undefined) return false;
      if (database instanceof PipelineError) return database;
      return orFault(() => database.ask((knex) => isLoaded(knex, slice, source)));
    },
    async close() {
      if (database !== undefined && !(database instanceof PipelineError)) await database.close();
    },
  };
}

async function orFault<T>(step: () => Promise<T>): Promise<T | PipelineError> {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
    return error;
  }
}

/** Which organizations a run would work on. */
export interface Organizations extends Pick<Resources, 'staging' | 'organizations'> {
  /** What the secret or the configuration file lacks for an organization. */
  faults: ReadonlyMap<string, PipelineError>;
  /** Each known organization's own part of what is asked for. */
  views: ReadonlyMap<string, OrganizationView>;
  /** Why the names are the staging area's instead of the secret's, beside those of the configuration file. */
  note: string | undefined;
}

/**
 * The organizations of the secret and the configuration file; where Vault is not set up or does not
 * answer, those of the file and those of which anything is staged.
 * @param notSetUp why Vault cannot be asked; `undefined` when it can, or need not be.
 * @throws {UsageError} when an organization is given twice.
 */
export async function findOrganizations(
  staging: Staging,
  staged: readonly StagedSlice[],
  secrets: Secrets,
  notSetUp: PipelineError | undefined,
): Promise<Organizations> {
  const faults = new Map<string, PipelineError>();
  const views = new Map<string, OrganizationView>();
  const found = notSetUp ?? (await attempt(secrets));
  const without = found instanceof PipelineError;
  const entries = without ? await secrets.listedOrganizations() : found;
  for (const entry of entries) {
    if ('fault' in entry) faults.set(entry.name, entry.fault);
    else views.set(entry.name, viewOf(entry));
  }
  const known = [
    ...entries.map(({ name }) => name),
    ...(without ? staged.map(({ slice }) => slice.organization) : []),
  ];
  const names = [...new Set(known)].sort();
  const listed = entries.length > 0 ? 'those of the configuration file and ' : '';
  return {
    staging,
    faults,
    views,
    note: without
      ? `the organizations are ${listed}those of which something is staged, since Vault cannot be asked: ${describeError(found)}`
      : undefined,
    organizations: () => Promise.resolve(names),
  };
}

/** The organizations of a run that extracts nothing, and so does not ask Vault for them. */
export function onlyStaged(staging: Staging): Organizations {
  return {
    staging,
    faults: new Map(),
    views: new Map(),
    note: undefined,
    organizations: (month, stages) =>
      stagedOrganizations(staging, month, stages.includes('transform') ? 'raw' : 'manifests'),
  };
}

async function attempt(
  secrets: Secrets,
): Promise<Awaited<ReturnType<Secrets['organizations']>> | PipelineError> {
  try {
    return await secrets.organizations();
  } catch (error) {
    const final = error instanceof InterruptedError || error instanceof UsageError;
    if (!(error instanceof PipelineError) || final) throw error;
    return error;
  }
}

/** Everything that a run would ask for; known only when all of it is. */
function totalOf(slices: readonly SlicePlan[]): Estimate {
  return {
    requests: slices.reduce((sum, { estimate }) => sum + estimate.requests, 0),
    further: slices.reduce((sum, { estimate }) => sum + estimate.further, 0),
    known: slices.every(({ estimate }) => estimate.known),
  };
}

/** What a run would do, as people read it. */
export function formatPlan(
  slices: readonly SlicePlan[],
  chosen: readonly Stage[],
  notes: readonly string[],
): string {
  const rows = slices.map(({ month, organization, stages: plans, estimate }) => [
    month,
    organization,
    ...chosen.map((stage) => actionText(plans[stage])),
    `${estimate.known ? '' : 'unknown, '}${boundsText(estimate, String)}`,
    boundsText(estimate, (requests) => `$${price(requests)}`),
  ]);
  const head = ['month', 'organization', ...chosen, 'requests', 'price'];
  const total = totalOf(slices);
  const reasons = slices.flatMap((slice) =>
    stages.flatMap((stage) => {
      const plan = slice.stages[stage];
      return plan?.error === undefined
        ? []
        : [
            `${slice.month} ${slice.organization} ${stage} ${plan.action === 'fails' ? 'would fail' : 'is unknown'}: ${describeError(plan.error, subjectOf(slice))}`,
          ];
    }),
  );
  return [
    formatTable(head, rows, ['requests', 'price']),
    '',
    `total: ${total.known ? '' : 'at least '}${total.requests} Cost Explorer requests, $${price(total.requests)}${mostText(total)}`,
    ...notes.flatMap((note) => ['', `note: ${note}`]),
    ...reasons.flatMap((reason) => ['', reason]),
  ].join('\n');
}

/** The same as one JSON document. */
export function planToJson(slices: readonly SlicePlan[], notes: readonly string[]): unknown {
  return {
    ...estimateJson(totalOf(slices)),
    ...(notes.length === 0 ? {} : { notes }),
    slices: slices.map(({ month, organization, stages: plans, estimate }) => ({
      month,
      organization,
      ...estimateJson(estimate),
      stages: Object.fromEntries(
        Object.entries(plans).map(([stage, { error, ...plan }]) => [
          stage,
          {
            ...plan,
            ...(error === undefined
              ? {}
              : { error: errorToJson(error, subjectOf({ month, organization })) }),
          },
        ]),
      ),
    })),
  };
}

/** `4, at most 5`: where AWS's total differs from the rows, AWS is asked which services make that. */
function boundsText({ requests, further, known }: Estimate, text: (of: number) => string): string {
  if (!known) return `at least ${text(requests)}`;
  return further === 0 ? text(requests) : `${text(requests)}, at most ${text(requests + further)}`;
}

function mostText({ requests, further, known }: Estimate): string {
  if (!known || further === 0) return '';
  const most = requests + further;
  return `; at most ${most}, $${price(most)}, where AWS's total differs from the rows`;
}

function estimateJson({ requests, further, known }: Estimate): Record<string, unknown> {
  return {
    requests,
    requestsAtMost: known ? requests + further : null,
    requestsKnown: known,
    priceUsd: price(requests),
  };
}

function actionText(plan: StagePlan | undefined): string {
  if (plan === undefined) return '';
  if (plan.stagedPages === undefined) return plan.action;
  return `${plan.action} after page ${plan.stagedPages}`;
}
