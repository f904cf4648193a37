/**
 * What reaches a terminal. Texts of AWS, Vault, MySQL or a file may hold anything: sequences that a terminal
 * obeys, and secrets that were sent and come back.
 */

/** Characters that would move a terminal's cursor, break a line or turn its direction, C1 among them. */
const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

const escape = (character: string): string =>
  `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`;

/** A text from outside as it may be shown within a line: what is unprintable is written as an escape. */
export function printable(text: string): string {
  return text.replace(unprintable, escape);
}

/** The same for whole lines, whose line breaks are ours. */
export function printableLines(text: string): string {
  return text.replace(unprintable, (character) => (character === '\n' ? '\n' : escape(character)));
}

/**
 * One document for a program, ended by a line break. JSON leaves C1 and bidirectional controls as they are in
 * its strings: escaped they are the same value, and harmless where people look at it.
 */
export function jsonDocument(value: unknown): string {
  return `${printableLines(JSON.stringify(value, null, 2))}\n`;
}

const secrets = new Set<string>();

/** Shorter ones would only make holes in other words, and tell what they are by that. */
const SHORTEST = 4;

/** Remembers secrets, in the forms in which they may come back, for {@link withoutSecrets}. */
export function keepSecret(...values: readonly (string | undefined)[]): void {
  for (const value of values) {
    if (value === undefined) continue;
    const forms = [value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)];
    for (const form of forms) if (form.length >= SHORTEST) secrets.add(form);
  }
}

/** A text of others, with every secret that this process has used cut out of it. */
export function withoutSecrets(text: string): string {
  let rest = text;
  // The longer first: one may be the beginning of another.
  for (const secret of [...secrets].sort((a, b) => b.length - a.length))
    rest = rest.replaceAll(secret, '***');
  return rest;
}

/** The longest text of others that is repeated in an error. */
const LONGEST = 300;

/**
 * What a service, a driver or the system said, for an error of ours: without secrets, on one line, printable,
 * and not too long.
 */
export function said(text: string): string {
  const line = withoutSecrets(text).replaceAll(/\s+/g, ' ').trim();
  return printable(line).slice(0, LONGEST);
}
