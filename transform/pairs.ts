/**
 * Remembers which pairs of account and service were seen: one bit a pair, so that millions of rows fit
 * in a few MiB where a set of strings would take hundreds.
 */
export interface Pairs {
  /** @returns false when the pair was added before. */
  add(account: string, service: string): boolean;
}

export function createPairs(): Pairs {
  const services = new Map<string, number>();
  const seen = new Map<string, Uint32Array>();
  return {
    add(account, service) {
      let index = services.get(service);
      if (index === undefined) services.set(service, (index = services.size));
      const word = index >>> 5;
      const bit = 1 << (index & 31);
      let words = seen.get(account);
      if (words === undefined || word >= words.length) {
        const grown = new Uint32Array(Math.max(word + 1, (words?.length ?? 0) * 2));
        if (words !== undefined) grown.set(words);
        seen.set(account, (words = grown));
      }
      const before = words[word] ?? 0;
      words[word] = before | bit;
      return (before & bit) === 0;
    },
  };
}
