import type { Random } from '../../fixtures/demo/random.js';
import { createRandom } from '../../fixtures/demo/random.js';
import { extract } from '../../extract/extract.js';
import { load } from '../../load/load.js';
import {
  ConfigurationError,
  DataError,
  PipelineError,
  TransientError,
} from '../../pipeline/shared/errors.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { currentOnce, startOf } from '../../pipeline/staging/extractions.js';
import {
  MANIFEST,
  SCOPE,
  parseExtractionKey,
  rawPrefix,
  transformManifestKey,
} from '../../pipeline/staging/layout.js';
import { leased } from '../../pipeline/staging/lease.js';
import type { ExtractionManifest, TransformManifest } from '../../pipeline/staging/manifest.js';
import { sha256Of } from '../../pipeline/staging/staging.js';
import { transform } from '../../transform/transform.js';
import { silent } from '../support/load-fixture.js';
import { createAws } from './aws.js';
import type { Memory, Rows } from './database.js';
import { createDatabase } from './database.js';
import type { Actor, Machine } from './schedule.js';
import { createSchedule } from './schedule.js';
import type { Disk } from './disk.js';
import { createDisk } from './disk.js';
import type { Lie, Storage, Weather } from './storage.js';
import { calm, createStorage } from './storage.js';

/**
 * One seed: some processes do the same month on one staging area, in bad weather; they are killed, paused, and
 * follow one another. Then the weather clears up, and a last process has to end well. What must hold is looked at
 * as things happen, and at the end.
 */

const slice = { month: parseMonth('2026-10'), organization: 'oab' };
const raw = rawPrefix(slice.month, slice.organization);

/** What a month comes to where nothing goes wrong. */
export interface Outcome {
  exports: ReadonlyMap<string, Uint8Array>;
  rows: Rows;
}

/** The same, and the exports of a month that has other rows of the same sums. */
export interface Expected extends Outcome {
  twins: Outcome['exports'];
}

/** Both months without faults. */
export async function expectedOf(memory: Memory): Promise<Expected> {
  const { exports } = await simulate('', { memory, isTwin: true });
  return { ...(await simulate('', { memory })), twins: exports };
}

/** Something that must not be: what a seed has found. */
export class Violation extends Error {}

/** What seeds have come to. */
export interface Tally {
  runs: number;
  killed: number;
  paused: number;
  failures: Map<string, number>;
  lies: number;
}

export const places = ['contract', 'folder'] as const;
export type Place = (typeof places)[number];

interface Options {
  memory: Memory;
  /** Without it nothing goes wrong: this is how it is found out. */
  expected?: Expected;
  /** Whether AWS has the other month. */
  isTwin?: boolean;
  /** What the staging area is: the contract itself, or the real driver of a folder on a simulated disk. */
  on?: Place;
  tally?: Tally;
  trace?: (line: string) => void;
}

/** What is bad in a seed's weather. */
interface Plan {
  weather: Weather;
  /** Processes that begin in it. */
  runs: number;
  /** How many of them begin at once. */
  together: number;
  kills: boolean;
  pauses: boolean;
  /** Whether processes lose the storage for a while. */
  outages: boolean;
  clocks: 'right' | 'minutes' | 'days';
  machines: number;
}

function drawPlan(random: Random): Plan {
  const of = (most: number): number => (random.chance(60) ? random.below(most + 1) : 0);
  const lies = random.chance(25);
  const outages = random.chance(25);
  return {
    weather: {
      slow: random.chance(25) ? 400 : of(100),
      stuck: of(30),
      longAnswer: outages ? 500 : 0,
      lostRequest: of(40),
      lostAnswer: of(40),
      broken: of(20),
      lie: lies ? 1 + random.below(60) : 0,
      exports: lies && random.chance(20) ? 400 : 0,
    },
    runs: (outages ? 2 : 1) + random.below(3),
    together: (outages ? 2 : 1) + random.below(2),
    kills: random.chance(60),
    pauses: random.chance(30),
    outages,
    clocks: random.chance(70) ? 'right' : random.chance(60) ? 'minutes' : 'days',
    machines: 1 + random.below(2),
  };
}

/** Requests of a whole run, about: kills and pauses strike among so many. */
const REQUESTS: Readonly<Record<Place, number>> = { contract: 60, folder: 1500 };
/** Milliseconds after a pause in which a holder may still believe that it is one: a lease's length, and a renewal. */
const NOTICED = 80_000;
/** Files that it writes, about: the lease, pages, exports, manifests. */
const WRITES = 18;
const DAY = 86_400_000;

/** @throws {Violation} as soon as something is found. */
export async function simulate(
  seed: string,
  { memory, expected, isTwin = false, tally, trace, on = 'contract' }: Options,
): Promise<Outcome> {
  const random = createRandom(seed);
  const plan = expected === undefined ? undefined : drawPlan(random);
  let weather = plan?.weather ?? calm;
  const schedule = createSchedule(random, trace);
  schedule.trace(JSON.stringify(plan));
  const found: Violation[] = [];
  const violate = (what: string): void => {
    schedule.trace(`VIOLATION: ${what}`);
    found.push(new Violation(what));
  };

  const began = new Map<Actor, number>();
  let tokenRefused = 0;
  let forced = false;

  const onChange = (key: string, before: Uint8Array | undefined): void => {
    if (!storage.hasLied()) checkChange(storage, key, before, violate);
  };
  const disk: Disk | undefined =
    on === 'folder' ? createDisk(schedule, random, () => weather, onChange, violate) : undefined;
  const storage: Storage =
    disk ?? createStorage(schedule, random, () => weather, onChange, expected?.twins ?? new Map());
  const aws = createAws(
    schedule,
    random,
    () => weather,
    (actor, file) => {
      const since = began.get(actor) ?? 0;
      if (forced || storage.hasLied()) return;
      const fetched = paidBefore(storage, actor, file, since, tokenRefused);
      if (fetched !== undefined) violate(`${actor.name} pays again for ${fetched}`);
    },
    () => (tokenRefused = schedule.now()),
    isTwin,
  );
  const database = createDatabase(
    schedule,
    random,
    () => weather,
    memory,
    async () => {
      if (expected === undefined) return;
      const { customers, consumption } = await memory.rows();
      const same =
        customers.join() === expected.rows.customers.join() &&
        consumption.join() === expected.rows.consumption.join();
      if (!same) violate('other rows were committed than those of the month');
    },
  );

  /** Who holds the lease, as they themselves know it. */
  const holding = new Map<Actor, AbortSignal>();
  const isHolder = (actor: Actor): boolean =>
    actor.alive && holding.get(actor)?.aborted === false && schedule.now() >= actor.calmFrom;
  /** Whoever was paused may not know yet that the lease is another's. */
  const checkHolders = (): void => {
    const [one, other] = [...holding.keys()].filter(isHolder);
    if (one !== undefined && other !== undefined && !storage.hasLied())
      violate(`${one.name} and ${other.name} hold the lease at once`);
  };
  const run = async (actor: Actor, force: boolean, waitSeconds: number): Promise<void> => {
    const interruption = new AbortController();
    const holder = actor;
    const options = { waitSeconds, signal: interruption.signal, log: silent, holder };
    const lease = storage.open(actor, false);
    await leased(lease, slice, options, async (signal) => {
      schedule.trace(`${actor.name} holds the lease`);
      holding.set(actor, signal);
      checkHolders();
      try {
        began.set(actor, schedule.now());
        const common = {
          staging: storage.open(actor, true),
          slice,
          provisionalDays: 10,
          tolerance: parseAmount('0.01').units,
          force,
          signal,
          log: silent,
          onProgress: () => undefined,
          now: () => new Date(actor.now()),
        };
        await extract({
          ...common,
          source: () => aws(actor),
          scope: plainScope,
          awsTotal: true,
          onPaid: () => undefined,
        });
        await transform({
          ...common,
          current: currentOnce(common.staging),
          tag: 'aws',
          parquet: 'standard',
        });
        await load({ ...common, database: database(actor), runId: actor.name });
      } finally {
        holding.delete(actor);
      }
    });
  };

  const machines: Machine[] = ['m1', 'm2'].map((name) => ({ name, skew: 0 }));
  let pids = 0;
  const ends = new Map<Actor, unknown>();
  const start = (machine: Machine, force: boolean, waitSeconds: number, calmly = false): Actor => {
    const name = String.fromCharCode(65 + pids);
    const actor = schedule.process(name, machine, (pids += 1));
    if (plan !== undefined && !calmly) disturb(plan, actor);
    schedule.trace(`${name} begins on ${machine.name}${force ? ' with --force' : ''}`);
    if (tally !== undefined) tally.runs += 1;
    run(actor, force, waitSeconds).then(
      () => {
        schedule.trace(`${name} has ended well`);
        ends.set(actor, undefined);
      },
      (error: unknown) => {
        schedule.trace(`${name} fails: ${String(error)}`);
        ends.set(actor, error);
        if (error instanceof ConfigurationError)
          violate(`what works is said to be set up wrongly: ${error.message}`);
        else if (error instanceof PipelineError) {
          tally?.failures.set(error.name, (tally.failures.get(error.name) ?? 0) + 1);
        } else
          violate(
            `a failure without a name: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
          );
      },
    );
    return actor;
  };

  const disturb = ({ kills, pauses, outages, clocks }: Plan, actor: Actor): void => {
    const requests = REQUESTS[on];
    const killAt = kills && random.chance(70) ? 1 + random.below(requests) : 0;
    const pauseAt = pauses && random.chance(50) ? 1 + random.below(requests) : 0;
    // Whoever is paused with a file in its hand writes it when it goes on, whatever others have done meanwhile.
    const pauseAtWrite = pauses && random.chance(50) ? 1 + random.below(WRITES) : 0;
    const cutOffAt = outages && random.chance(70) ? 5 + random.below(requests / 3) : 0;
    const cutOffFor = 10_000 + random.below(190_000);
    const clockAt = clocks !== 'right' && random.chance(70) ? 1 + random.below(requests) : 0;
    const pauseFor = 1000 + random.below(random.chance(50) ? 20_000 : 300_000);
    const sleeps = random.chance(30);
    const jump = (random.below(2001) - 1000) * (clocks === 'days' ? 3 * 86_400 : 600);
    const powerAt = kills && random.chance(50) ? 1 + random.below(requests) : 0;
    const pause = (): void => {
      schedule.trace(`${actor.name} is paused for ${pauseFor / 1000} s`);
      if (tally !== undefined) tally.paused += 1;
      actor.pausedUntil = schedule.now() + pauseFor;
      if (sleeps) actor.slept += pauseFor;
      actor.calmFrom = actor.pausedUntil + NOTICED;
      schedule.after(pauseFor + NOTICED, undefined, checkHolders);
    };
    actor.onWrite = (written) => {
      if (written === pauseAtWrite) pause();
    };
    actor.onAsk = (asked) => {
      if (asked === powerAt && disk !== undefined) disk.losePower();
      if (asked === killAt) {
        schedule.trace(`${actor.name} is killed`);
        if (tally !== undefined) tally.killed += 1;
        schedule.kill(actor);
      }
      if (asked === pauseAt) pause();
      if (asked === cutOffAt) {
        schedule.trace(`${actor.name} does not reach the storage for ${cutOffFor / 1000} s`);
        actor.cutOffUntil = schedule.now() + cutOffFor;
      }
      if (asked === clockAt) {
        schedule.trace(`the clock of ${actor.machine.name} jumps by ${jump / 1000} s`);
        actor.machine.skew += jump;
      }
    };
  };

  const isOver = (actor: Actor): boolean => !actor.alive || ends.has(actor);
  const settle = (...actors: Actor[]): Promise<void> =>
    schedule.run(() => found.length > 0 || actors.every(isOver));
  const check = (): void => {
    const [first] = found;
    if (first !== undefined) throw first;
  };

  await memory.clear();
  if (plan !== undefined) {
    const machineFor = (): Machine =>
      machines[random.below(plan.machines)] ?? { name: 'm1', skew: 0 };
    for (let left = plan.runs; left > 0;) {
      const wave = Math.min(left, plan.together);
      left -= wave;
      const started: Actor[] = [];
      for (let count = 0; count < wave; count += 1)
        schedule.after(random.below(random.chance(50) ? 100 : 5000), undefined, () => {
          started.push(start(machineFor(), false, random.chance(40) ? 0 : 300));
        });
      await schedule.run(
        () => found.length > 0 || (started.length === wave && started.every(isOver)),
      );
      check();
    }
  }
  // AWS may take its time in good weather too: the lease has to be renewed meanwhile.
  weather = plan !== undefined && random.chance(30) ? { ...calm, longAnswer: 600 } : calm;
  return finish();

  async function finish(): Promise<Outcome> {
    const machine = machines[0] ?? { name: 'm1', skew: 0 };
    const wait = 1200;
    let last = start(machine, false, wait, true);
    await settle(last);
    check();
    if (ends.get(last) instanceof TransientError) {
      // A file that was still on its way, from a process of the bad weather, came in between: the same command again.
      last = start(machine, false, wait, true);
      await settle(last);
      check();
    }
    const error = ends.get(last);
    const damaged = expected !== undefined && storage.lies.length > 0;
    if (damaged && (error instanceof DataError || !isWhole(storage))) {
      const files = storage.lies.filter(isLasting);
      if (files.length > 0 && files.every(isSeen))
        throw new Violation('what lacks bytes is not made again by itself', { cause: error });
      // The remedy of every such failure, and of what `reconcile` finds.
      forced = true;
      last = start(machine, true, wait, true);
      await settle(last);
      check();
    }
    const failure = ends.get(last);
    if (failure !== undefined) throw new Violation('the last run fails', { cause: failure });
    if (tally !== undefined) tally.lies += storage.lies.length;
    const exports = new Map([...storage.files].filter(([key]) => /^(parquet|csv)\//.test(key)));
    const rows = await memory.rows();
    if (expected !== undefined) compare(expected, exports, rows);
    return { exports, rows };
  }
}

function compare(expected: Outcome, exports: Outcome['exports'], rows: Rows): void {
  const keys = (of: Outcome['exports']): string => [...of.keys()].sort().join(' ');
  if (keys(exports) !== keys(expected.exports)) throw new Violation(`exports: ${keys(exports)}`);
  for (const [key, bytes] of expected.exports)
    if (Buffer.compare(bytes, exports.get(key) ?? Buffer.alloc(0)) !== 0)
      throw new Violation(`${key} is not what it is without faults`);
  if (rows.customers.join() !== expected.rows.customers.join())
    throw new Violation('other customers');
  if (rows.consumption.join() !== expected.rows.consumption.join())
    throw new Violation('other rows');
  if (rows.loads === 0) throw new Violation('no load is recorded');
}

function json(bytes: Uint8Array | undefined): unknown {
  try {
    return JSON.parse(Buffer.from(bytes ?? []).toString());
  } catch {
    return undefined;
  }
}

/** Whether it is still there for who comes later. */
function isLasting({ key, kind }: Lie): boolean {
  return kind !== 'listing' && !key.startsWith('leases/');
}

/** Whether what is damaged lacks bytes that the manifest of an extraction, or of the tables, tells of. */
function isSeen({ key, kind }: Lie): boolean {
  const page = parseExtractionKey(key)?.file;
  const isListed = /^(parquet|csv)\//.test(key) || (page !== undefined && page !== MANIFEST);
  return isListed && (kind === 'lost' || kind === 'torn');
}

/** Whether all exports are those that the manifest tells: what `reconcile` compares. */
function isWhole({ files }: Storage): boolean {
  const manifest = json(files.get(transformManifestKey(slice))) as TransformManifest | undefined;
  if (manifest === undefined) return false;
  return [...manifest.customers.files, ...manifest.consumption.files].every(
    ({ key, sha256 }) => sha256Of(files.get(key) ?? Buffer.alloc(0)) === sha256,
  );
}

/** What a finished extraction is at the moment it is finished, and from then on. */
function checkChange(
  { files }: Storage,
  key: string,
  before: Uint8Array | undefined,
  violate: (what: string) => void,
): void {
  const parts = parseExtractionKey(key);
  if (parts === undefined) return;
  const folder = key.slice(0, key.length - parts.file.length);
  const manifest = json(files.get(folder + MANIFEST)) as ExtractionManifest | undefined;
  if (parts.file !== MANIFEST) {
    if (files.has(folder + MANIFEST)) violate(`${key} changes after its manifest was written`);
    return;
  }
  if (before !== undefined || manifest === undefined) {
    violate(`${key} is written twice, or removed`);
    return;
  }
  for (const { file, sha256 } of manifest.pages)
    if (sha256Of(files.get(folder + file) ?? Buffer.alloc(0)) !== sha256)
      violate(`the manifest tells of ${folder}${file}, which is not there`);
}

/**
 * The staged file of a page that is asked for once more: of the newest extraction that was there when the process
 * began to look, or that it has begun itself, and that could be gone on with.
 */
function paidBefore(
  { files, written }: Storage,
  actor: Actor,
  file: string,
  since: number,
  tokenRefused: number,
): string | undefined {
  const known = (key: string): boolean => {
    const { at, by } = written.get(key) ?? { at: Infinity, by: undefined };
    return files.has(key) && (at <= since || by === actor);
  };
  const names = [...files.keys()].flatMap((key) => parseExtractionKey(key)?.extraction ?? []);
  for (const name of [...new Set(names)].sort().reverse()) {
    const key = `${raw}${name}/${file}`;
    if (known(key)) {
      if ((written.get(key)?.at ?? 0) <= tokenRefused) return undefined;
      return actor.now() - startOf(name).getTime() > DAY ? undefined : key;
    }
    if ((written.get(`${raw}${name}/${SCOPE}`)?.at ?? Infinity) <= since) return undefined;
  }
  return undefined;
}
