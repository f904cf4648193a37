/**
 * Parts of README and docs that a command writes stand between two markers, each a comment that names
 * the part: the first also names the command.
 */

const marker = /^<!-- ([a-z-]+): written by (.+) -->$/gm;

/** The parts of a text that a command writes, by name. */
export function sectionNames(text: string, command: string): string[] {
  return [...text.matchAll(marker)].flatMap(([, name = '', by]) => (by === command ? [name] : []));
}

/**
 * The text with `section` as the part of a name.
 * @throws {Error} when the part's two markers are not there.
 */
export function withSection(text: string, name: string, section: string): string {
  const start = new RegExp(`^<!-- ${name}: written by .+ -->$`, 'm').exec(text);
  const end = text.indexOf(`<!-- ${name}: end -->`, start?.index);
  if (start === null || end < 0) throw new Error(`the markers of "${name}" are not there`);
  return `${text.slice(0, start.index)}${start[0]}\n\n${section}\n\n${text.slice(end)}`;
}
