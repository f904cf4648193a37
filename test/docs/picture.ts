/** A terminal's text as a picture: SVG that holds the text itself, readable on light and dark ground. */

const WIDTH = 8.4;
const LINE = 21;
const LEFT = 24;
const TOP = 62;

/** The class of a piece of a line, by what it says; the first that matches counts. */
const colours: readonly (readonly [string, RegExp])[] = [
  ['dim', /^(?:\d{4}-\d\d|final)$/],
  ['good', /^(?:\d+ )?(?:done|unchanged)\b/],
  ['bad', /^(?:failed|skipped|provisional)\b/],
  ['money', /^(?:-?\d+\.\d{2,}(?: [A-Z]{3})?|\$\d+\.\d\d)$/],
];

/**
 * @param command what was typed.
 * @param output what it printed.
 */
export function picture(command: string, output: string): string {
  const lines = output.trimEnd().split('\n');
  const columns = Math.max(...lines.map((line) => line.length), command.length + 2);
  const width = Math.ceil(columns * WIDTH + 2 * LEFT);
  const height = TOP + (lines.length + 2) * LINE;
  const prompt = `<text y="${TOP}" xml:space="preserve"><tspan x="${LEFT}" class="dim">$ </tspan><tspan x="${LEFT + 2 * WIDTH}" class="typed">${escaped(command)}</tspan></text>`;
  const body = lines.map((line, index) => {
    const y = TOP + Math.round((index + 1.5) * LINE);
    return `<text y="${y}" xml:space="preserve">${pieces(line, /^month /.test(line))}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="What ${escaped(command)} prints">
<style>
.ground { fill: #f6f8fa; stroke: #d0d7de } .bar { fill: #d0d7de }
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #24292f; white-space: pre }
.typed, .head { font-weight: bold } .dim { fill: #57606a } .good { fill: #1a7f37 } .bad { fill: #b35900 } .money { fill: #0550ae }
@media (prefers-color-scheme: dark) {
.ground { fill: #161b22; stroke: #30363d } .bar { fill: #30363d }
text { fill: #e6edf3 } .dim { fill: #8b949e } .good { fill: #3fb950 } .bad { fill: #e3a04f } .money { fill: #79c0ff }
}
</style>
<rect class="ground" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10"/>
<circle class="bar" cx="22" cy="20" r="6"/><circle class="bar" cx="42" cy="20" r="6"/><circle class="bar" cx="62" cy="20" r="6"/>
${[prompt, ...body].join('\n')}
</svg>
`;
}

/** A line in pieces, two spaces or more apart as a table's columns are, each at a fixed place in any font. */
function pieces(line: string, isHead: boolean): string {
  return [...line.matchAll(/ *(?:\S| (?=\S))+ */g)]
    .map(({ 0: text, index }) => {
      const colour = colours.find(([, pattern]) => pattern.test(text.trim()))?.[0];
      const name = isHead ? 'head' : colour;
      const marked = name === undefined ? '' : ` class="${name}"`;
      return `<tspan x="${(LEFT + index * WIDTH).toFixed(1)}"${marked}>${escaped(text)}</tspan>`;
    })
    .join('');
}

/** The text of a picture, line by line, as it was given to {@link picture}: the command first. */
export function pictureText(svg: string): string[] {
  return [...svg.matchAll(/<text [^>]*>([^]*?)<\/text>/g)].map(([, content = '']) =>
    content
      .replaceAll(/<[^>]*>/g, '')
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&amp;', '&'),
  );
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
