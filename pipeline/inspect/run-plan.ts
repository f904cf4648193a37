import pLimit from 'p-limit';
import { paidPages } from '../../extract/draft.js';
import { decideExtract, takenOverBy } from '../../extract/decision.js';
import { checkDifference } from '../../load/aws-difference.js';
import type { Loads } from '../../load/loads.js';
import { openLoads } from '../../load/loads.js';
import { findSource } from '../../load/source.js';
import { decideTransform } from '../../transform/transform.js';
import type { OrganizationEntry } from '../../extract/organizations.js';
import type { Config } from '../config/config.js';
import { scopeOf, tagOf } from '../config/config.js';
import type { Selection, Stage } from '../config/selection.js';
import { stages } from '../config/selection.js';
import { knownOrganizations } from '../run/known-organizations.js';
import type { Resources } from '../run/resources.js';
import { once, openSecrets, stagedOrganizations, viewOf } from '../run/resources.js';
import { checkCostViews, slicesOf } from '../run/runner.js';
import { costInWords, price } from '../run/task.js';
import { describeSlices, subjectOf } from '../shared/commands.js';
import { InterruptedError, PipelineError, describeError, errorToJson } from '../shared/errors.js';
import type { RunLog } from '../shared/log.js';
import { historyStart, monthOf, shiftMonth } from '../shared/month.js';
import type { Scope } from '../shared/scope.js';
import { formatTable } from '../shared/table.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { listedOnce } from '../staging/listed-once.js';
import { openStaging } from '../staging/open.js';
import type { Refusal } from '../staging/manifest.js';
import { describeRefusal } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import type { Estimate } from './estimate.js';
import { estimator, noRequests, remaining } from './estimate.js';

/** What a run would do in one stage of a slice. */
export interface StagePlan {
  /** `unknown`: the database cannot be asked. `fails`: for a reason that is known now. */
  action:
    'fetch' | 'widen' | 'resume' | 'reuse' | 'run' | 'unchanged' | 'unknown' | 'fails' | 'skipped';
  /** In the transform stage, whether it only makes files again that were lost. */
  restores?: boolean;
  /** In `resume`, the cost pages that are staged already. */
  stagedPages?: number;
  /** In `widen`, the staged pages that are not asked for again, and the extraction that they are of. */
  takenOver?: { extraction: string; pages: number };
  /** What the month comes to tell more and less than before. */
  replaces?: string;
  /** What the month before was asked of other billing views, in words. */
  unlike?: string;
  /** What of the month AWS refused, where it is not asked again. */
  refused?: readonly Refusal[];
  /** Whether the month to fetch lies before what Cost Explorer keeps as a rule. */
  beforeHistory?: true;
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
  log: RunLog;
  signal: AbortSignal;
  now: () => Date;
}

interface PlanContext extends PlanRequest {
  staging: Staging;
  /** How each organization is reached. */
  entries: readonly OrganizationEntry[];
  estimate: (slice: Slice, scope: Scope) => Promise<Estimate>;
  /** Asked only when the load stage has to be decided on. */
  loads: () => Promise<Loads>;
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
  const { timeoutMs } = config;
  const opened = await openStaging(config.staging, { ...config.stagingOptions, signal });
  const staging = untouched(listedOnce(opened, selection.months.length));
  const secrets = openSecrets(config, request);
  const loads = once(() => openLoads(() => secrets.database(), { log, signal, timeoutMs }));
  try {
    const extracts = selection.stages.includes('extract');
    const staged = extracts ? await stagedSlices(staging) : [];
    const { entries, unasked } = extracts
      ? await knownOrganizations(secrets, request.notSetUp)
      : { entries: [], unasked: undefined };
    const names = [
      ...entries.map(({ name }) => name),
      ...(unasked === undefined ? [] : staged.map(({ slice }) => slice.organization)),
    ];
    const organizations: Resources['organizations'] = (month, stages) =>
      extracts
        ? Promise.resolve([...new Set(names)].sort())
        : stagedOrganizations(staging, month, stages.includes('transform') ? 'raw' : 'manifests');
    const estimate = estimator(staging, staged, config);
    const context = { ...request, staging, entries, estimate, loads };
    const limit = pLimit(config.concurrency);
    const planned = await slicesOf({ staging, organizations }, request);
    checkCostViews(planned, config.scope, entries);
    const plans = planned.map((slice) => limit(() => planSlice(slice, context)));
    const slices = await Promise.all(plans);
    const listed = entries.length > 0 ? 'those of the configuration file and ' : '';
    const notes =
      unasked === undefined
        ? []
        : [
            `the organizations are ${listed}those of which something is staged, since Vault cannot be asked: ${describeError(unasked)}`,
          ];
    return { slices, notes: [...notes, ...notesOn(slices, request.now())] };
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
const unknownView = { billingViewArn: undefined, costViewArn: undefined, listAccounts: undefined };

async function planExtract(
  slice: Slice,
  { staging, force, config, entries, estimate, log, now }: PlanContext,
): Promise<{ plan: StagePlan; estimate: Estimate }> {
  const entry = entries.find(({ name }) => name === slice.organization);
  if (entry !== undefined && 'fault' in entry) throw entry.fault;
  const { provisionalDays, awsTotal } = config;
  const decision = await decideExtract({
    ...{ staging, slice, force, provisionalDays, awsTotal, now },
    log: log.child(slice),
    scope: {
      ...scopeOf(config.scope, slice.organization),
      ...(entry === undefined ? unknownView : viewOf(entry)),
    },
  });
  const { action, scope } = decision;
  const asks = action === 'fetch' || action === 'widen' || action === 'resume';
  const stagedPages = decision.action === 'resume' ? paidPages(decision.draft) : 0;
  const takenOver = takenOverBy(decision);
  return {
    plan: {
      // A run that was stopped before its first page has left nothing to go on with.
      action:
        action !== 'resume' || stagedPages > 0
          ? action
          : takenOver === undefined
            ? 'fetch'
            : 'widen',
      ...(takenOver === undefined
        ? {}
        : { takenOver: { extraction: takenOver.extraction, pages: takenOver.pages.length } }),
      ...(stagedPages === 0 ? {} : { stagedPages }),
      ...(decision.replaces === undefined ? {} : { replaces: decision.replaces }),
      ...(decision.unlike === undefined ? {} : { unlike: decision.unlike }),
      ...('manifest' in decision && decision.manifest.refused.length > 0
        ? { refused: decision.manifest.refused }
        : {}),
      ...(asks && slice.month < historyStart(now()) ? { beforeHistory: true } : {}),
    },
    estimate: await remaining(decision, () => estimate(slice, scope), config),
  };
}

async function planTransform(
  slice: Slice,
  { staging, force, config }: PlanContext,
  extract: StagePlan | undefined,
): Promise<StagePlan> {
  if (extract !== undefined && extract.action !== 'unchanged') return { action: 'run' };
  const tag = tagOf(config.tags, slice.organization);
  const { parquet } = config;
  const { former, restores } = await decideTransform({ staging, slice, force, tag, parquet });
  if (former !== undefined) return { action: 'unchanged' };
  return { action: 'run', ...(restores ? { restores } : {}) };
}

async function planLoad(
  slice: Slice,
  { staging, force, config, loads }: PlanContext,
  transform: StagePlan | undefined,
): Promise<StagePlan> {
  if (transform?.action === 'run' && transform.restores !== true) return { action: 'run' };
  const source = await findSource(staging, slice);
  const database = await loads();
  if (database.fault !== undefined) return { action: 'unknown', error: database.fault };
  if ((await database.holds(slice, source)) && !force) return { action: 'unchanged' };
  checkDifference(source.manifest, config.tolerance);
  return { action: 'run' };
}

/** What people have to know of what cannot be told beforehand. */
function notesOn(plans: readonly SlicePlan[], now: Date): string[] {
  const notes = (['replaces', 'unlike'] as const).flatMap((kind) =>
    [...new Set(plans.flatMap(({ stages: { extract } }) => extract?.[kind] ?? []))].map((what) => {
      const slices = plans.filter(({ stages: { extract } }) => extract?.[kind] === what);
      return `${describeSlices(slices)}: ${what}`;
    }),
  );
  for (const { month, organization, stages: chosen } of plans)
    for (const refusal of chosen.extract?.refused ?? [])
      notes.push(
        `${month} ${organization}: ${describeRefusal(refusal)}; it is asked for again when the month is fetched again`,
      );
  if (plans.some(({ stages: { extract }, estimate }) => extract?.takenOver && estimate.further > 1))
    notes.push(
      'what is taken over is asked for again where AWS tells another total than when it was fetched: a month then takes as many requests as with --force',
    );
  const open = plans.map(({ estimate }) => estimate).filter(({ known }) => !known);
  if (open.some(({ usualMost, requests }) => usualMost !== undefined && usualMost > requests))
    notes.push(
      'usage types of several services, or of several regions, take further requests, and which those are is known only from the first answers: the most is what few organizations exceed; --max-requests bounds a run, and the next plan goes by what was fetched',
    );
  if (open.some(({ usualMost, requests }) => usualMost === requests))
    notes.push(
      '"at least" is a page for each question: nothing is staged to tell how many pages the answers take; --max-requests bounds a run, and the next plan goes by what was fetched',
    );
  for (const other of new Set(open.flatMap(({ like }) => like ?? [])))
    notes.push(
      `"about" goes by what ${other} took: the organization itself was not fetched so yet`,
    );
  const early = plans.filter(({ stages: { extract } }) => extract?.beforeHistory === true);
  if (early.length > 0) {
    const months = [...new Set(early.map(({ month }) => month))].join(', ');
    notes.push(
      `${months}: Cost Explorer keeps ${historyStart(now)} and later; it refuses an earlier month, free of charge, unless multi-year data is switched on (then it keeps ${shiftMonth(monthOf(now), -37)} and later)`,
    );
  }
  return notes;
}

/** Everything that a run would ask for; known only when all of it is. */
function totalOf(slices: readonly SlicePlan[]): Estimate {
  const sum = (of: (estimate: Estimate) => number): number =>
    slices.reduce((all, { estimate }) => all + of(estimate), 0);
  const open = slices.map(({ estimate }) => estimate).filter(({ known }) => !known);
  return {
    requests: sum(({ requests }) => requests),
    further: sum(({ further }) => further),
    invoicing: sum(({ invoicing }) => invoicing),
    known: open.length === 0,
    like: open.find(({ like }) => like !== undefined)?.like,
    usualMost: open.some(({ usualMost }) => usualMost !== undefined)
      ? sum(({ requests, usualMost }) => usualMost ?? requests)
      : undefined,
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
    boundsText(estimate, String),
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
    formatTable(head, rows, ['requests', 'price'], { names: ['organization'] }),
    '',
    `total: ${totalText(total)}`,
    ...notes.flatMap((note) => ['', `note: ${note}`]),
    ...reasons.flatMap((reason) => ['', reason]),
  ].join('\n');
}

/** The same as one JSON document. */
export function planToJson(slices: readonly SlicePlan[], notes: readonly string[]): unknown {
  return {
    ...estimateJson(totalOf(slices)),
    ...(notes.length === 0 ? {} : { notes }),
    slices: slices.map(sliceJson),
  };
}

/** The months and organizations of that document as rows. */
export function planTable(slices: readonly SlicePlan[], notes: readonly string[]) {
  return {
    columns: [
      ...['month', 'organization'],
      ...stages.flatMap((stage) => [`stages.${stage}.action`, `stages.${stage}.error.message`]),
      ...['requests', 'requestsAtMost', 'requestsKnown', 'requestsLike', 'requestsUsuallyAtMost'],
      ...['priceUsd', 'invoicingRequests'],
    ],
    rows: slices.map(sliceJson),
    notes,
  };
}

function sliceJson({ month, organization, stages: plans, estimate }: SlicePlan) {
  return {
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
  };
}

/** `4 to 5`: where AWS's total differs from the rows, AWS is asked which services make that. */
function boundsText(estimate: Estimate, text: (of: number) => string): string {
  const { requests, further, known, like, usualMost } = estimate;
  if (usualMost !== undefined && usualMost > requests)
    return `${text(requests)} to ${text(usualMost)}`;
  if (!known) return `${like === undefined ? 'at least' : 'about'} ${text(requests)}`;
  return further === 0 ? text(requests) : `${text(requests)} to ${text(requests + further)}`;
}

function totalText(total: Estimate): string {
  const { invoicing } = total;
  if (invoicing === 0) return costText(total);
  const requests = `${invoicing} Invoicing request${invoicing === 1 ? '' : 's'}`;
  return `${costText(total)}; beside them ${requests}, of which AWS publishes no price`;
}

function costText(total: Estimate): string {
  const { requests, further, known } = total;
  const prices = (of: number): string => `$${price(of)}`;
  if (!known)
    return `${boundsText(total, String)} Cost Explorer requests, ${boundsText(total, prices)}`;
  const most = requests + further;
  const words = costInWords(requests);
  if (further === 0) return words;
  return `${words}; at most ${most}, ${prices(most)}, where AWS's total differs from the rows`;
}

function estimateJson(estimate: Estimate): Record<string, unknown> {
  const { requests, further, invoicing, known, like, usualMost } = estimate;
  return {
    requests,
    requestsAtMost: known ? requests + further : null,
    requestsKnown: known,
    ...(like === undefined ? {} : { requestsLike: like }),
    ...(usualMost === undefined ? {} : { requestsUsuallyAtMost: usualMost }),
    priceUsd: price(requests),
    invoicingRequests: invoicing,
  };
}

function actionText(plan: StagePlan | undefined): string {
  if (plan === undefined) return '';
  const old = plan.beforeHistory === true ? ', if still there' : '';
  if (plan.stagedPages === undefined) return plan.action + old;
  return `${plan.action} after page ${plan.stagedPages}${old}`;
}
