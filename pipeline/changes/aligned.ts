/** Characters that take two cells of a terminal, and marks that take none. */
const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\uff01-\uff60]/gu;
const marks = /[\p{Mn}\p{Me}\u200d]/gu;

/**
 * The lines of a table that may be long: columns two spaces apart, the named ones to the right. Its time
 * grows with its rows only, unlike that of a table that wraps its cells.
 */
export function* alignedLines(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[],
): Generator<string> {
  const widths = head.map(widthOf);
  for (const row of rows)
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
    });
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const space = ' '.repeat((widths[column] ?? 0) - widthOf(cell));
        return right.includes(head[column] ?? '') ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  yield line(head);
  for (const row of rows) yield line(row);
}

function widthOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  const count = (pattern: RegExp): number => text.match(pattern)?.length ?? 0;
  return Array.from(text).length + count(wide) - count(marks);
}
