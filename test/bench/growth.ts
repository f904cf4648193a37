import type { GrowthPoint, NodeRows } from './table.js';
import { describeFigures, escaped, majorOf } from './table.js';

/** What grew, as it was measured on each Node. */
interface Grown {
  name: string;
  of: { node: string; points: readonly GrowthPoint[] }[];
}

function grown(measured: readonly NodeRows[]): Grown[] {
  const found = new Map<string, Grown>();
  for (const { node, rows } of measured)
    for (const { growth } of rows) {
      if (growth === undefined) continue;
      const { name, points } = growth;
      const one = found.get(name) ?? { name, of: [] };
      one.of.push({ node: majorOf(node), points });
      found.set(name, one);
    }
  return [...found.values()];
}

/** What each took at a quarter, half and all of its size, as a Markdown table. */
export function growthTable(measured: readonly NodeRows[]): string {
  const lines = grown(measured).flatMap(({ name, of }) =>
    of.map(({ node, points }) => {
      const [smallest, largest] = [points[0], points.at(-1)];
      const ratio = (largest?.seconds ?? NaN) / (smallest?.seconds ?? NaN);
      const cells = points.map((point) => `${point.slices}: ${describeFigures(point)}`);
      return [name, node, ...cells, `${ratio.toFixed(2)} ×`];
    }),
  );
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
const HEIGHT = TOP + SIDE + 50;

/** A line's colour for each Node, readable on light and dark ground. */
const COLOURS = ['#3f8f5b', '#c8643c'];

/**
 * The same as a plot for each work, with a line for each Node: seconds over months times organizations, beside the
 * dashed line on which what takes the slowest one's whole at full size would grow in proportion. A curve that hangs
 * below it grows faster than its size.
 */
export function growthChart(measured: readonly NodeRows[]): string {
  const works = grown(measured);
  const plots = works.map(({ name, of }, index) => {
    const points = of.flatMap((one) => one.points);
    const most = Math.max(...points.map(({ seconds }) => seconds));
    const slices = Math.max(...points.map((point) => point.slices));
    const left = LEFT + index * STEP;
    const lines = of.map(({ node, points: own }, at) => {
      const colour = COLOURS[at % COLOURS.length] ?? '';
      const line = own.map((point) => {
        const x = left + (point.slices / slices) * SIDE;
        const y = TOP + SIDE - (point.seconds / most) * SIDE;
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      });
      return [
        `<polyline points="${line.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
        `<text x="${left + at * 70}" y="${TOP + SIDE + 36}" fill="${colour}">Node ${node}</text>`,
      ].join('\n');
    });
    return [
      `<text x="${left}" y="${TOP - 20}" font-weight="600">${escaped(name)}</text>`,
      `<path d="M${left} ${TOP}V${TOP + SIDE}H${left + SIDE}" fill="none" stroke="#808080"/>`,
      `<line x1="${left}" y1="${TOP + SIDE}" x2="${left + SIDE}" y2="${TOP}" stroke="#808080" stroke-dasharray="4 3"/>`,
      ...lines,
      `<text x="${left - 4}" y="${TOP + 4}" text-anchor="end">${most.toPrecision(2)} s</text>`,
      `<text x="${left + SIDE}" y="${TOP + SIDE + 16}" text-anchor="end">${slices}</text>`,
    ].join('\n');
  });
  const width = Math.max(1, works.length) * STEP + LEFT;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${HEIGHT}" width="${width}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#808080" role="img" aria-label="Seconds over months times organizations">
${plots.join('\n')}
</svg>
`;
}
