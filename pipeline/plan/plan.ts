import { paidPages } from '../../extract/draft.js';
import { decide as decideExtract } from '../../extract/extract.js';
import { checkDifference } from '../../load/check-difference.js';
import { findSource } from '../../load/source.js';
import { decide as decideTransform } from '../../transform/transform.js';
import type { Config } from '../config.js';
import { InterruptedError, PipelineError } from '../errors.js';
import { tagOf } from '../organization-tags.js';
import type { Estimate } from './estimate.js';
import { noRequests, remaining } from './estimate.js';
import type { Log } from '../log.js';
import type { LoadedSlices } from './plan-load.js';
import type { OrganizationView } from '../scope.js';
import type { Stage } from '../selection.js';
import type { Slice } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';

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
