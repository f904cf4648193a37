import type { Random } from '../../fixtures/demo/random.js';
import type { RequestRecord } from '../../fixtures/cloud/cloud.js';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Finished } from './cli.js';
import { pipeline } from './cli.js';
import { countSteps, killAtStep } from './kill-at-step.js';

/** How much there is of a whole run, to draw a point of it. */
export interface Whole {
  /** Steps as `kill-at-step` counts them. */
  steps: number;
  /** Requests to all stand-ins. */
  requests: number;
  /** Milliseconds until the first request, and until the end. */
  first: number;
  end: number;
}

/** Where a run is killed: before a step of its own, as a request arrives, or after some time. */
export interface Kill {
  kind: 'step' | 'request' | 'ms';
  number: number;
}

/**
 * Draws a point of a whole run; a run that has less left to do may end before it. Shares are drawn,
 * not numbers, since two whole runs of one seed differ a little in length.
 */
export function drawKill(random: Random, { steps, requests, first, end }: Whole): Kill {
  const kind = random.pick(['step', 'step', 'request', 'ms'] as const);
  const share = random.below(10_000) / 10_000;
  if (kind === 'step') return { kind, number: 1 + Math.floor(share * steps) };
  if (kind === 'request') return { kind, number: 1 + Math.floor(share * requests) };
  return { kind, number: Math.round(first + share * (end - first)) };
}

/** Tells whoever listens that a request has arrived. */
export interface Arrivals {
  notify: () => void;
  listener: () => void;
}

export function createArrivals(): Arrivals {
  const arrivals: Arrivals = {
    notify: () => {
      arrivals.listener();
    },
    listener: () => undefined,
  };
  return arrivals;
}

export interface Command {
  args: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
}

/** Runs the command until it ends, and counts what there is of it. */
export async function runWhole(
  { args, cwd, env }: Command,
  arrivals: Arrivals,
  stepsFile: string,
  readSteps: () => Promise<number>,
): Promise<{ finished: Finished; whole: Whole }> {
  let requests = 0;
  let start = 0;
  let first = 0;
  arrivals.listener = () => {
    requests += 1;
    first ||= performance.now() - start;
  };
  const finished = await pipeline(args, {
    cwd,
    env: { ...env, ...countSteps(stepsFile) },
    running: () => {
      start = performance.now();
    },
  });
  const end = performance.now() - start;
  return { finished, whole: { steps: await readSteps(), requests, first, end } };
}

/**
 * Runs the command and kills it at the given point; without one it runs to its end.
 * @throws when a process of it outlives it.
 */
export async function runKilled(
  { args, cwd, env }: Command,
  arrivals: Arrivals,
  kill: Kill | undefined,
): Promise<Finished> {
  let group = 0;
  const ended = new AbortController();
  const finished = await pipeline(args, {
    cwd,
    env: kill?.kind === 'step' ? { ...env, ...killAtStep(kill.number) } : env,
    detached: true,
    running(child) {
      group = child.pid ?? 0;
      const strike = (): void => void child.kill('SIGKILL');
      let requests = 0;
      arrivals.listener = () => {
        requests += 1;
        if (kill?.kind === 'request' && requests === kill.number) strike();
      };
      if (kill?.kind === 'ms') {
        sleep(kill.number, undefined, { signal: ended.signal }).then(strike, () => undefined);
      }
    },
  });
  ended.abort();
  if (isAlive(group)) throw new Error(`a process of the group ${group} is still there`);
  return finished;
}

/** Whether any process of a group is there. */
function isAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    return false;
  }
}

/**
 * The cost pages that were paid for once more although that could be helped. A run that was killed
 * may lose the one page of each organization that it was waiting for or about to write: the next run
 * asks for it first. Every other page that was paid for before is one too many.
 */
export function needlesslyPaid(requests: readonly RequestRecord[]): string[] {
  const faults: string[] = [];
  const paid = new Set<string>();
  const last = new Map<string | undefined, string>();
  let begun = new Set<string | undefined>();
  for (const { operation, organization, token, input, charged } of requests) {
    // Each run logs in to Vault before everything else.
    if (operation === 'login') begun = new Set();
    if (!charged) continue;
    const page = `${organization ?? ''} ${token ?? JSON.stringify(input)}`;
    const lost = !begun.has(organization) && last.get(organization) === page;
    if (paid.has(page) && !lost) faults.push(page);
    paid.add(page);
    last.set(organization, page);
    begun.add(organization);
  }
  return faults;
}
