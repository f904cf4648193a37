import type { Figures } from './measure.js';

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
  /** What our side took at several sizes, the smallest first, and its short name. */
  growth?: Growth;
}

export interface Growth {
  name: string;
  points: readonly GrowthPoint[];
}

/** What something took at one of several sizes. */
export interface GrowthPoint extends Figures {
  /** Months times organizations. */
  slices: number;
}

/** Whether the target is reached. */
export function isReached({ bound, target, ratio }: Row): boolean {
  return ratio !== undefined && (bound === 'most' ? ratio <= target : ratio >= target);
}

/** Why time alone is measured elsewhere than on Linux. */
export const NO_PROC = 'there is no /proc here';

/** `3.91 s, 4.70 s CPU, 256,000 rows/s, 310 MiB`. */
export function describeFigures({ seconds, cpu, peak }: Figures, rows?: number): string {
  return [
    `${seconds.toFixed(2)} s`,
    ...(cpu === undefined ? [] : [`${cpu.toFixed(2)} s CPU`]),
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

/** What was measured on one Node. */
export interface NodeRows {
  /** Its version, `24.11.1`. */
  node: string;
  rows: readonly Row[];
}

/** Each row on every Node, one below the other; all have measured the same. */
function interleaved(measured: readonly NodeRows[]): { node: string; row: Row }[] {
  const [{ rows } = { rows: [] }] = measured;
  return rows.flatMap((_, index) =>
    measured.flatMap(({ node, rows: own }) => {
      const row = own[index];
      return row === undefined ? [] : [{ node: majorOf(node), row }];
    }),
  );
}

/** `24` of `24.11.1`. */
export function majorOf(version: string): string {
  return version.split('.')[0] ?? '';
}

/** The rows as a Markdown table. */
export function benchTable(measured: readonly NodeRows[]): string {
  const lines = interleaved(measured).map(({ node, row }) => [
    row.stage,
    row.work,
    row.beside,
    node,
    `at ${row.bound} ${row.target} ×`,
    row.ratio === undefined ? 'not measured' : `${row.ratio.toFixed(2)} ×`,
    isReached(row) ? 'yes' : 'no',
    row.ours,
    row.theirs,
  ]);
  const head = [
    'stage',
    'work',
    'beside',
    'Node',
    'to reach',
    'measured',
    'reached',
    'took',
    'beside it',
  ];
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

const LABELS = 430;
const BARS = 360;
const LINE = 26;
const TOP = 34;
/** The axis ends at this multiple of the target; longer bars are cut there. */
const END = 2;

/**
 * The rows as one plain chart: each bar's length is the measured ratio as a multiple of its target, so
 * that one line is everybody's target; for "at least" the ratio is turned over. Shorter is better.
 * Middle grey text and lines can be read on light and on dark ground.
 */
export function benchChart(measured: readonly NodeRows[]): string {
  const rows = interleaved(measured);
  const height = TOP + rows.length * LINE + 12;
  const width = LABELS + BARS + 110;
  const scale = BARS / END;
  const bars = rows.map(({ node, row }, index) => {
    const y = TOP + index * LINE;
    const label = plain(`${node}, ${row.stage}: ${row.work}`);
    const short = label.length > 66 ? `${label.slice(0, 65)}…` : label;
    const name = `<text x="${LABELS - 8}" y="${y + 15}" text-anchor="end">${escaped(short)}</text>`;
    if (row.ratio === undefined)
      return `${name}<text x="${LABELS + 6}" y="${y + 15}">not measured</text>`;
    const part = row.bound === 'most' ? row.ratio / row.target : row.target / row.ratio;
    const length = Math.max(1, Math.min(part, END) * scale);
    const color = isReached(row) ? '#3f8f5b' : '#c8643c';
    const figure = `${row.ratio.toFixed(2)} × (${row.bound === 'most' ? '≤' : '≥'} ${row.target})`;
    return `${name}<rect x="${LABELS}" y="${y + 3}" width="${length.toFixed(1)}" height="${LINE - 9}" fill="${color}"/><text x="${LABELS + BARS + 8}" y="${y + 15}">${figure}</text>`;
  });
  const target = LABELS + scale;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#808080" role="img" aria-label="Measured ratios beside their targets">
<text x="${target}" y="16" text-anchor="middle">target</text>
${bars.join('\n')}
<line x1="${target}" y1="22" x2="${target}" y2="${height - 6}" stroke="#808080" stroke-dasharray="4 3"/>
</svg>
`;
}

/** A text of Markdown without its marks. */
export function plain(text: string): string {
  return text.replaceAll('`', '');
}

export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
