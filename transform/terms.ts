import type { Place } from './rows.js';

/** A text that many rows repeat, such as a service, kept once. */
export interface Term {
  readonly text: string;
  /** 0, 1, 2 … in order of first appearance. */
  readonly index: number;
}

/** The distinct texts of a column: each is checked, and held, once however many rows have it. */
export interface Terms {
  of(text: string, place: Place): Term;
  /** Every text so far, by its index. */
  readonly texts: readonly string[];
}

/** @param check Throws when a text met for the first time is wrong. */
export function createTerms(check: (text: string, place: Place) => void): Terms {
  const known = new Map<string, number>();
  const texts: string[] = [];
  const terms: Term[] = [];
  /** Rows are ordered: mostly the text is the last row's, or the one that followed it before. */
  let last = -1;
  return {
    texts,
    of(text, place) {
      if (texts[last] !== text) {
        last = last + 1 < texts.length ? last + 1 : 0;
        if (texts[last] !== text) last = known.get(text) ?? -1;
      }
      let term = terms[last];
      if (term === undefined) {
        check(text, place);
        last = texts.length;
        known.set(text, last);
        texts.push(text);
        terms.push((term = { text, index: last }));
      }
      return term;
    },
  };
}

type Indexed = Pick<Term, 'index'>;

/**
 * Remembers pairs of terms: returns false for one that it has seen before. One bit a pair, so that
 * millions of rows take a few MiB where a set of strings would take hundreds.
 */
export function createPairs(): (first: Indexed, second: Indexed) => boolean {
  const seen: Uint32Array[] = [];
  return (first, second) => {
    const word = second.index >>> 5;
    const bit = 1 << (second.index & 31);
    let words = seen[first.index] ?? new Uint32Array(1);
    if (word >= words.length) {
      const grown = new Uint32Array(Math.max(word + 1, words.length * 2));
      grown.set(words);
      words = grown;
    }
    seen[first.index] = words;
    const before = words[word] ?? 0;
    words[word] = before | bit;
    return (before & bit) === 0;
  };
}
