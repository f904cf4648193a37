import { tell, tellAbove } from '../shared/output.js';
import { printable } from '../shared/printable.js';

/** Tells people on standard error how far the run is. */
export interface Progress {
  /**
   * What a month and organization is at.
   * @param slice the words by which people know it.
   * @param share how much of the stage is done, from 0 to 1, where that is known.
   */
  show(slice: string, stage: string, text: string, share?: number): void;
  /** Nothing is done of a month and organization until it is shown again. */
  rest(slice: string): void;
  /** What a month and organization came to: a line that stays. */
  end(slice: string, text: string): void;
  /** What has to be known meanwhile: another line that stays. */
  note(slice: string, text: string): void;
  /** How much of the run is done, from 0 to 1. */
  whole(text: string, share: number): void;
  stop(): void;
}

/** For who does not want to know. */
export const noProgress: Progress = {
  show: () => undefined,
  rest: () => undefined,
  end: () => undefined,
  note: () => undefined,
  whole: () => undefined,
  stop: () => undefined,
};

/** Milliseconds after which work counts as long: from then on a bar shows how much is left. */
const LONG = 3_000;

/**
 * A line for each month and organization that ended; on a terminal also one for each that is being worked on,
 * which moves through its stages, and below them one for the run.
 * @param now milliseconds of a clock that never goes back.
 */
export async function createProgress(
  stream: NodeJS.WriteStream,
  now: () => number = () => performance.now(),
): Promise<Progress> {
  const say = (slice: string, text: string): void => {
    tell(`${slice}  ${text}`);
  };
  // A terminal that knows no height of its own has no room to redraw in.
  if (!stream.isTTY || stream.rows === 0) return { ...noProgress, end: say, note: say };
  const { createLogUpdate } = await import('log-update');
  const update = createLogUpdate(stream, { showCursor: true });
  const running = new Map<string, Work>();
  let run: Work | undefined;
  let timer: NodeJS.Timeout | undefined;
  const draw = (): void => {
    timer = undefined;
    const lines = [...running].map(([slice, work]) => {
      return `${slice}  ${work.stage.padEnd(9)}  ${describeWork(work, now())}`;
    });
    if (run !== undefined && now() - run.since > LONG) lines.push(describeWork(run, now()));
    update(lines.map(printable).join('\n'));
  };
  // Pages may arrive faster than anybody reads: ten drawings a second are enough.
  const soon = (): void => {
    timer ??= setTimeout(draw, 100).unref();
  };
  tellAbove((text) => {
    update.persist(text);
    draw();
  });
  return {
    show(slice, stage, text, share) {
      const before = running.get(slice);
      const since = before?.stage === stage ? before.since : now();
      running.set(slice, { stage, text, share, since });
      soon();
    },
    rest(slice) {
      running.delete(slice);
      soon();
    },
    end(slice, text) {
      running.delete(slice);
      say(slice, text);
    },
    note: say,
    whole(text, share) {
      run = { stage: '', text, share, since: run?.since ?? now() };
      soon();
    },
    stop() {
      clearTimeout(timer);
      tellAbove(undefined);
      update.clear();
      update.done();
    },
  };
}

/** Work under way. */
interface Work {
  stage: string;
  text: string;
  share: number | undefined;
  /** When it began, on the clock. */
  since: number;
}

/** Cells of a bar. */
const BAR = 10;

/** Its words, and where it is long, a bar with the time that is left if it goes on as it did. */
function describeWork({ text, share, since }: Work, now: number): string {
  const spent = now - since;
  if (share === undefined || spent < LONG) return text;
  const full = Math.min(BAR, Math.floor(share * BAR));
  const bar = '█'.repeat(full) + '░'.repeat(BAR - full);
  // The first part may be slower than all that follow.
  if (share < 0.05) return `${bar}  ${text}`;
  return `${bar}  ${text}, ${durationText(((spent / share) * (1 - share)) / 1000)} left`;
}

function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
