import pLimit from 'p-limit';
import type { Loads } from '../../load/loads.js';
import { tagOf } from '../config/config.js';
import type { Stage } from '../config/selection.js';
import type { RunLog } from '../shared/log.js';
import type { Outcome } from '../shared/outcome.js';
import { currentOnce } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { leasePrefix } from '../staging/layout.js';
import { listedOnce } from '../staging/listed-once.js';
import type { Staging } from '../staging/staging.js';
import { once } from './resources.js';
import type { TaskContext, TaskReport } from './task.js';
import { reportOutcome, wantedScope } from './task.js';

/** Slices that are looked at side by side: a store takes its time for each answer. */
const AT_ONCE = 8;

/**
 * The slices of which no stage has anything to do, found out from one listing of the staging area and of the load
 * history before anything is begun. They need no lease: of years of months, most are such, and a lease is half of what
 * an unchanged slice takes. What the stages say of them is what they would say under the lease. Whatever is odd, or
 * held by another run, is left to the stages, which tell of it once; and with `force` everything is.
 * @returns for each of them what logs and gives its reports.
 */
export async function settledSlices(
  slices: readonly Slice[],
  context: TaskContext,
): Promise<ReadonlyMap<Slice, () => TaskReport[]>> {
  const { config, force, resources, selection, signal, log, progress } = context;
  const found = new Map<Slice, Settled>();
  if (force) return new Map();
  const { timeoutMs } = config;
  const loads = once(async () => {
    const { openLoads } = await import('../../load/loads.js');
    return openLoads(() => resources.secrets.database(), { log, signal, timeoutMs });
  });
  const staging = listedOnce(resources.staging, selection.months.length);
  const current = currentOnce(staging);
  const limit = pLimit(AT_ONCE);
  let looked = 0;
  const look = async (slice: Slice): Promise<void> => {
    const settled = signal.aborted
      ? undefined
      : await settle(slice, { ...context, staging, current, loads });
    if (settled !== undefined) found.set(slice, settled);
    looked += 1;
    progress.whole(
      `${looked} of ${slices.length} months and organizations looked at`,
      looked / slices.length,
    );
  };
  try {
    await Promise.all(slices.map((slice) => limit(() => look(slice))));
  } finally {
    await loads.ifOpened((open) => open.close());
  }
  return new Map([...found].map(([slice, tasks]) => [slice, reports(slice, tasks, log)]));
}

/** Apart, so that it keeps nothing of what was listed. */
function reports(slice: Slice, tasks: Settled, log: RunLog): () => TaskReport[] {
  return () => tasks.map((task) => reportOutcome({ ...slice, ...task, requests: 0 }, log));
}

type Settled = readonly { stage: Stage; outcome: Outcome; seconds: number }[];

type Look = TaskContext & { staging: Staging; loads: () => Promise<Loads> };

/** What the stages would say of a slice, where none has anything to do. */
async function settle(slice: Slice, look: Look): Promise<Settled | undefined> {
  const settled: Settled[number][] = [];
  try {
    for (const stage of look.selection.stages) {
      const clock = performance.now();
      const outcome = await askStage(stage, slice, look);
      if (outcome === undefined) return undefined;
      settled.push({ stage, outcome, seconds: (performance.now() - clock) / 1000 });
    }
    // Last, so that whoever changed something of what was seen meanwhile is seen too, or has ended.
    return (await isHeld(look.staging, slice)) ? undefined : settled;
  } catch {
    // The stage comes upon the same, and tells of it as a failure of its own.
    return undefined;
  }
}

/** What a stage would say of a slice; `undefined`: it has something to do. */
async function askStage(
  stage: Stage,
  slice: Slice,
  { config, staging, current, resources, loads, now }: Look,
): Promise<Outcome | undefined> {
  const { provisionalDays, parquet } = config;
  const common = { staging, slice, provisionalDays, force: false };
  switch (stage) {
    case 'extract': {
      const { nothingToFetch } = await import('../../extract/decision.js');
      const scope = await wantedScope(slice, { config, resources });
      return nothingToFetch({ ...common, scope, now });
    }
    case 'transform': {
      const { nothingToMake } = await import('../../transform/transform.js');
      const tag = tagOf(config.tags, slice.organization);
      return nothingToMake({ ...common, current, tag, parquet });
    }
    case 'load': {
      const { nothingToLoad } = await import('../../load/load.js');
      return nothingToLoad(common, await loads());
    }
  }
}

/** Whether there is a lease on the slice, whoever holds it and whether they live. */
async function isHeld(staging: Staging, slice: Slice): Promise<boolean> {
  const first = await staging.list(leasePrefix(slice))[Symbol.asyncIterator]().next();
  return first.done !== true;
}
