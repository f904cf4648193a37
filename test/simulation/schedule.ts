import { setImmediate } from 'node:timers/promises';
import type { Random } from '../../fixtures/demo/random.js';
import type { Holder, LivingProcess } from '../../pipeline/staging/holder.js';
import { until } from '../../pipeline/shared/waits.js';

/**
 * Virtual time. One real thread does one event after the other; between two of them it lets everything that is
 * ready come to rest, so that a seed's events follow one another in the same order each time. Nothing waits in
 * reality: an hour is as short as an event.
 */

/** A simulated machine, whose clock may be wrong. */
export interface Machine {
  readonly name: string;
  /** What its clock is ahead, in milliseconds. */
  skew: number;
}

/** A simulated process. What it has asked for is never answered once it is dead. */
export interface Actor extends LivingProcess {
  readonly name: string;
  readonly machine: Machine;
  alive: boolean;
  /** Until when nothing happens to it, in milliseconds of the schedule. */
  pausedUntil: number;
  /** From when on it has noticed what happened in its last pause. */
  calmFrom: number;
  /** Until when it does not reach the storage. */
  cutOffUntil: number;
  /** Milliseconds in which its machine slept, which its clock of elapsed time does not know. */
  slept: number;
  /** What it has asked of anybody so far. */
  asked: number;
  /** Called before each request: it may kill, pause or stop the process, or set its machine's clock. */
  onAsk: (asked: number) => void;
  /** Files that it has begun to write so far, and what is called before each, in the same way. */
  written: number;
  onWrite: (written: number) => void;
  /** Requests of its stages that are under way. */
  waiting: number;
  /** Whether it works in the database, where real code runs for more than a moment. */
  inDatabase: boolean;
  /** Called when it is killed. */
  readonly onKill: (() => void)[];
}

interface Event {
  at: number;
  order: number;
  owner: Actor | undefined;
  step: () => void;
}

/** How long a request takes until it takes effect, and its answer from there; in milliseconds. */
export interface Way {
  there: number;
  back: number;
  /** Whether it takes effect even where who has sent it is dead by then. */
  outlives: boolean;
}

/** When the clocks of all machines would say it is, were they right, as the schedule begins. */
const BEGINNING = Date.UTC(2026, 11, 20, 10);

/** Events after which a simulation has no end. */
const MOST_EVENTS = 200_000;

export type Schedule = ReturnType<typeof createSchedule>;

export function createSchedule(random: Random, trace: (line: string) => void = () => undefined) {
  const events: Event[] = [];
  const actors: Actor[] = [];
  let now = 0;
  let order = 0;

  const after = (
    milliseconds: number,
    owner: Actor | undefined,
    step: () => void,
  ): (() => void) => {
    const event = { at: now + milliseconds, order: (order += 1), owner, step };
    events.push(event);
    return () => {
      const index = events.indexOf(event);
      if (index >= 0) events.splice(index, 1);
    };
  };

  /** Takes out the event that comes next; one of a paused process comes when that goes on. */
  const next = (): Event | undefined => {
    for (;;) {
      let first = -1;
      for (const [index, { at, order: number }] of events.entries()) {
        const best = events[first];
        if (best === undefined || at < best.at || (at === best.at && number < best.order))
          first = index;
      }
      const [event] = first < 0 ? [] : events.splice(first, 1);
      if (event === undefined) return undefined;
      const { owner } = event;
      if (owner?.alive === false) continue;
      if (owner === undefined || owner.pausedUntil <= event.at) return event;
      event.at = owner.pausedUntil;
      events.push(event);
    }
  };

  const isWorking = ({ inDatabase, alive, waiting }: Actor): boolean =>
    inDatabase && (!alive || waiting === 0);

  return {
    now: () => now,
    after,
    trace: (line: string): void => {
      trace(`${(now / 1000).toFixed(3).padStart(10)} s  ${line}`);
    },

    /** Begins a process. */
    process(name: string, machine: Machine, pid: number): Actor {
      const began = now;
      const self: Holder = { machine: machine.name, pid, token: name };
      const actor: Actor = {
        name,
        machine,
        self,
        alive: true,
        pausedUntil: 0,
        calmFrom: 0,
        cutOffUntil: 0,
        slept: 0,
        asked: 0,
        onAsk: () => undefined,
        written: 0,
        onWrite: () => undefined,
        waiting: 0,
        inDatabase: false,
        onKill: [],
        isGone: (other) =>
          other.machine === machine.name &&
          !actors.some(({ alive, self: { token } }) => alive && token === other.token),
        now: () => BEGINNING + now + machine.skew,
        elapsed: () => now - began - actor.slept,
        pause: (milliseconds, signal) =>
          until(
            signal,
            new Promise((resolve) => {
              after(milliseconds, actor, resolve);
            }),
          ),
        random: () => random.below(1000) / 1000,
        after: (milliseconds, step) => after(milliseconds, actor, step),
      };
      actors.push(actor);
      return actor;
    },

    /** Ends a process as SIGKILL does: nothing happens to it any more. */
    kill(actor: Actor): void {
      if (!actor.alive) return;
      actor.alive = false;
      for (const end of actor.onKill) end();
    },

    /**
     * Asks somebody elsewhere. The promise never settles where `owner` is dead by then.
     * @param effect what happens there.
     * @param answer what comes back, or throws.
     * @param counts whether the request is one of the process's stages.
     */
    ask<T, A>(
      owner: Actor,
      { there, back, outlives }: Way,
      effect: () => T,
      answer: (result: T) => A,
      counts: boolean,
    ): Promise<A> {
      owner.asked += 1;
      owner.onAsk(owner.asked);
      if (counts) owner.waiting += 1;
      return new Promise<A>((resolve, reject) => {
        if (!owner.alive) return;
        after(there, outlives ? undefined : owner, () => {
          const result = effect();
          after(back, owner, () => {
            if (counts) owner.waiting -= 1;
            try {
              resolve(answer(result));
            } catch (error) {
              reject(error instanceof Error ? error : new Error(String(error)));
            }
          });
        });
      });
    },

    /** Lets things happen until all is `done`. @throws {Error} where nothing is left to happen, or always something is. */
    async run(done: () => boolean): Promise<void> {
      for (let count = 0; count < MOST_EVENTS; count += 1) {
        do await setImmediate();
        while (actors.some(isWorking));
        if (done()) return;
        const event = next();
        if (event === undefined) throw new Error('nothing happens any more, and nobody has ended');
        now = Math.max(now, event.at);
        event.step();
      }
      throw new Error(`no end after ${MOST_EVENTS} events`);
    },
  };
}
