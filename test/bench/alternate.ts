import type { Measured } from './measure.js';

/** The medians of a side's runs. */
export interface Figures {
  seconds: number;
  /** The highest peak of all runs, in bytes. */
  peak: number | undefined;
}

/** How often each side runs, and who is told of each run. */
export interface Rounds {
  count: number;
  say: (line: string) => void;
}

/**
 * Runs every side in each round, in turn, and in the opposite order in every second round, so that what
 * slows the machine for a while slows all sides alike.
 */
export async function alternate<Name extends string>(
  { count, say }: Rounds,
  sides: Readonly<Record<Name, () => Promise<Measured>>>,
): Promise<Record<Name, Figures>> {
  const names = Object.keys(sides) as Name[];
  const runs = new Map<Name, Measured[]>(names.map((name) => [name, []]));
  for (let round = 0; round < count; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const measured = await sides[name]();
      const peak =
        measured.peak === undefined ? '' : `, ${Math.round(measured.peak / 2 ** 20)} MiB`;
      say(`  ${name}: ${measured.seconds.toFixed(2)} s${peak}`);
      runs.get(name)?.push(measured);
    }
  }
  return Object.fromEntries(names.map((name) => [name, figuresOf(runs.get(name) ?? [])])) as Record<
    Name,
    Figures
  >;
}

function figuresOf(runs: readonly Measured[]): Figures {
  const peaks = runs.flatMap(({ peak }) => (peak === undefined ? [] : [peak]));
  return {
    seconds: median(runs.map(({ seconds }) => seconds)),
    peak: peaks.length === 0 ? undefined : Math.max(...peaks),
  };
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}
