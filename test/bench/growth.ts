import type { GrowthPoint, NodeRows } from './table.js';
import { describeFigures, escaped, majorOf, plain } from './table.js';

/** What grows, on each Node. */
function grown(
  measured: readonly NodeRows[],
): { node: string; work: string; points: readonly GrowthPoint[] }[] {
  return measured.flatMap(({ node, rows }) =>
    rows.flatMap(({ work, growth: points }) =>
      points === undefined ? [] : [{ node: majorOf(node), work, points }],
    ),
  );
}

/** What each took at a quarter, half and all of its size, as a Markdown table. */
export function growthTable(measured: readonly NodeRows[]): string {
  const lines = grown(measured).map(({ node, work, points }) => {
    const [smallest, largest] = [points[0], points.at(-1)];
    const ratio = (largest?.seconds ?? NaN) / (smallest?.seconds ?? NaN);
    return [
      work,
      node,
      ...points.map((point) => `${point.slices}: ${describeFigures(point)}`),
      `${ratio.toFixed(2)} ×`,
    ];
  });
  const head = ['work', 'Node', 'a quarter', 'half', 'whole', 'whole beside a quarter'];
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

/** Where a plot begins, and how large it is. */
const LEFT = 40;
const TOP = 40;
const SIDE = 200;
const STEP = 260;
const HEIGHT = TOP + SIDE + 30;

/**
 * The same as a plot for each: seconds over months times organizations, beside the dashed line on which what takes
 * its whole at full size would grow in proportion. A curve that hangs below it grows faster than its size.
 */
export function growthChart(measured: readonly NodeRows[]): string {
  const plots = grown(measured).map(({ node, work, points }, index) => {
    const largest = points.at(-1);
    const [most, slices] = [largest?.seconds ?? 1, largest?.slices ?? 1];
    const left = LEFT + index * STEP;
    const x = (point: GrowthPoint): number => left + (point.slices / slices) * SIDE;
    const y = (point: GrowthPoint): number => TOP + SIDE - (point.seconds / most) * SIDE;
    const line = points.map((point) => `${x(point).toFixed(1)},${y(point).toFixed(1)}`).join(' ');
    const label = plain(`${node}: ${work}`);
    const short = label.length > 38 ? `${label.slice(0, 37)}…` : label;
    return [
      `<text x="${left}" y="${TOP - 14}">${escaped(short)}</text>`,
      `<path d="M${left} ${TOP}V${TOP + SIDE}H${left + SIDE}" fill="none" stroke="#808080"/>`,
      `<line x1="${left}" y1="${TOP + SIDE}" x2="${left + SIDE}" y2="${TOP}" stroke="#808080" stroke-dasharray="4 3"/>`,
      `<polyline points="${line}" fill="none" stroke="#3f8f5b" stroke-width="2"/>`,
      `<text x="${left - 4}" y="${TOP + 4}" text-anchor="end">${most.toPrecision(2)} s</text>`,
      `<text x="${left + SIDE}" y="${TOP + SIDE + 16}" text-anchor="end">${slices}</text>`,
    ].join('\n');
  });
  const width = Math.max(1, plots.length) * STEP + LEFT;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${HEIGHT}" width="${width}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#808080" role="img" aria-label="Seconds over months times organizations">
${plots.join('\n')}
</svg>
`;
}
