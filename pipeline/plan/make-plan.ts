import pLimit from 'p-limit';
import type { Config } from '../config.js';
import type { PipelineError } from '../errors.js';
import { estimator } from './estimate.js';
import type { Log } from '../log.js';
import { once } from '../once.js';
import { findOrganizations, onlyStaged } from './plan-organizations.js';
import { openLoaded } from './plan-load.js';
import type { SlicePlan } from './plan.js';
import { planSlice, untouched } from './plan.js';
import { slicesOf } from '../run.js';
import { openSecrets } from '../secrets.js';
import type { Selection } from '../selection.js';
import { stagedSlices } from '../staged.js';
import { openStaging } from '../staging/open.js';

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
