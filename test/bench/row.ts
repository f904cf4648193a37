import type { Figures } from './alternate.js';

/** A line of the bench's table: what was measured beside what, and whether it is reached. */
export interface Row {
  /** The group of rows that it is measured in, see `groups` of bench.ts. */
  stage: string;
  work: string;
  beside: string;
  /** `most`: the ratio is to be at most the target; `least`: at least. */
  bound: 'most' | 'least';
  target: number;
  /** `undefined` where it cannot be measured on this machine; `ours` then says why. */
  ratio: number | undefined;
  /** The figures behind the ratio, in words. */
  ours: string;
  theirs: string;
}

/** Whether the target is reached. */
export function isReached({ bound, target, ratio }: Row): boolean {
  return ratio !== undefined && (bound === 'most' ? ratio <= target : ratio >= target);
}

/** `3.91 s, 256,000 rows/s, 310 MiB`. */
export function describeFigures({ seconds, peak }: Figures, rows?: number): string {
  return [
    `${seconds.toFixed(2)} s`,
    ...(rows === undefined ? [] : [`${groupThousands(rows / seconds)} rows/s`]),
    ...(peak === undefined ? [] : [mebibytes(peak)]),
  ].join(', ');
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 100 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** Three significant digits: `256,000`. */
function groupThousands(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en-US');
}
