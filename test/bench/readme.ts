const START = '<!-- bench: written by npm run bench -- --write -->';
const END = '<!-- bench: end -->';

/**
 * The README with `section` between the bench's two markers.
 * @throws {Error} when the markers are not there.
 */
export function withSection(readme: string, section: string): string {
  const start = readme.indexOf(START);
  const end = readme.indexOf(END);
  if (start < 0 || end < start) throw new Error("the README lacks the bench's markers");
  return `${readme.slice(0, start)}${START}\n\n${section}\n\n${readme.slice(end)}`;
}
