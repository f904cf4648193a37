import pLimit from 'p-limit';
import { paidPages } from '../../extract/draft.js';
import { decideExtract } from '../../extract/extract.js';
import { checkDifference } from '../../load/aws-difference.js';
import { findSource } from '../../load/source.js';
import { decideTransform } from '../../transform/transform.js';
import type { Config } from '../config/config.js';
import { tagOf } from '../config/config.js';
import type { Selection, Stage } from '../config/selection.js';
import { stages } from '../config/selection.js';
import { once, openSecrets } from '../run/resources.js';
import { slicesOf } from '../run/runner.js';
import { price } from '../run/task.js';
import { subjectOf } from '../shared/commands.js';
import { InterruptedError, PipelineError, describeError, errorToJson } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import { formatTable } from '../shared/table.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { openStaging } from '../staging/open.js';
import type { Staging } from '../staging/staging.js';
import type { Estimate } from './estimate.js';
import { estimator, noRequests, remaining } from './estimate.js';
import type { Organizations } from './known-organizations.js';
import { findOrganizations, onlyStaged } from './known-organizations.js';
import type { Loads } from './loads.js';
import { openLoads } from './loads.js';

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

interface PlanContext extends PlanRequest {
  staging: Staging;
  known: Organizations;
  estimate: (slice: Slice) => Promise<Estimate>;
  /** Asked only when the load stage has to be decided on. */
  loads: () => Promise<Loads>;
}

/** Why the first fetch by usage type cannot be told beforehand. */
const SHARED =
  'usage types of several services, or of several regions, take further requests, and which those are is known only from the first answers; --max-requests bounds a run, and the next plan goes by what was fetched';

/**
 * What a run of the same selection would do, by month and organization. Nothing is written, and AWS
 * is not asked.
 * @throws {PipelineError} when there is no organization to plan for, or the chosen one is unknown.
 */
export async function makePlan(
  request: PlanRequest,
): Promise<{ slices: SlicePlan[]; notes: string[] }> {
  const { config, selection, log, signal } = request;
  const { timeoutMs } = config;
  const opened = await openStaging(config.staging, { ...config.stagingOptions, signal });
  const staging = untouched(opened);
  const secrets = openSecrets(config, request);
  const loads = once(() => openLoads(() => secrets.database(), { log, signal, timeoutMs }));
  try {
    const extracts = selection.stages.includes('extract');
    const staged = extracts ? await stagedSlices(staging) : [];
    const known = extracts
      ? await findOrganizations(staging, staged, secrets, request.notSetUp)
      : onlyStaged(staging);
    const estimate = estimator(staging, staged, config);
    const context = { ...request, staging, known, estimate, loads };
    const limit = pLimit(config.concurrency);
    const plans = (await slicesOf(known, request)).map((slice) =>
      limit(() => planSlice(slice, context)),
    );
    const slices = await Promise.all(plans);
    const notes = known.note === undefined ? [] : [known.note];
    if (config.scope.detail === 'usage-type' && !totalOf(slices).known) notes.push(SHARED);
    return { slices, notes };
  } finally {
    await loads.ifOpened((open) => open.close());
    await secrets.close();
  }
}

/** A staging area that stays as it is, whatever a stage's decision would tidy up in it. */
function untouched(staging: Staging): Staging {
  return {
    ...staging,
    write: () => Promise.reject(new Error('a plan writes nothing')),
    remove: () => Promise.resolve(),
  };
}

/** Asks each chosen stage what it would do, given what the stages before it would. */
async function planSlice(slice: Slice, context: PlanContext): Promise<SlicePlan> {
  const plan: SlicePlan = { ...slice, stages: {}, estimate: noRequests };
  const { stages } = plan;
  for (const stage of context.selection.stages) {
    const before = Object.values(stages);
    try {
      if (before.some(({ action }) => action === 'fails' || action === 'skipped'))
        stages[stage] = { action: 'skipped' };
      else if (stage === 'extract') {
        const planned = await planExtract(slice, context);
        stages.extract = planned.plan;
        plan.estimate = planned.estimate;
      } else if (stage === 'transform')
        stages.transform = await planTransform(slice, context, stages.extract);
      else stages.load = await planLoad(slice, context, stages.transform);
    } catch (error) {
      if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
      stages[stage] = { action: 'fails', error };
    }
  }
  return plan;
}

/** Where Vault cannot be asked, any will do. */
const unknownView = { billingViewArn: undefined, listAccounts: undefined };

async function planExtract(
  slice: Slice,
  { staging, force, config, known, estimate, log, now }: PlanContext,
): Promise<{ plan: StagePlan; estimate: Estimate }> {
  const { provisionalDays } = config;
  const scope = { ...config.scope, ...(known.views.get(slice.organization) ?? unknownView) };
  const decision = await decideExtract({ staging, slice, force, provisionalDays, log, now, scope });
  const fault = known.faults.get(slice.organization);
  if (fault !== undefined && decision.action !== 'unchanged') throw fault;
  return {
    plan: {
      action: decision.action,
      ...(decision.action === 'resume' ? { stagedPages: paidPages(decision.draft) } : {}),
    },
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
  { staging, force, config, loads }: PlanContext,
  transform: StagePlan | undefined,
): Promise<StagePlan> {
  if (transform?.action === 'run') return { action: 'run' };
  const source = await findSource(staging, slice);
  const database = await loads();
  if (database.fault !== undefined) return { action: 'unknown', error: database.fault };
  if ((await database.holds(slice, source)) && !force) return { action: 'unchanged' };
  checkDifference(source.manifest, config.tolerance);
  return { action: 'run' };
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
