/**
 * Parts of README and docs. Those that a command writes stand between two markers, each a comment that names
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

/** The code blocks of a language in a section of a text, in order. */
export function codeBlocks(text: string, section: string, language: string): string[] {
  const [, rest = ''] = text.split(`\n## ${section}\n`);
  const [own = ''] = rest.split('\n## ');
  return [...own.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(
    ([, block = '']) => block,
  );
}
