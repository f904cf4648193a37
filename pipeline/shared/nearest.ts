/**
 * The known word that somebody most likely meant by another one: the same but for capitals and hyphens, one that
 * begins it or that it begins (`org`, `months`), or one that few slips of the finger lie from it.
 * @returns `undefined` where none is near.
 */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const given = plain(word);
  if (given.length < 2) return undefined;
  const most = Math.max(1, Math.floor(given.length / 3));
  const [best] = known
    .map((one) => ({ one, away: distance(given, plain(one)) }))
    .filter(({ away }) => away <= most)
    .sort((a, b) => a.away - b.away);
  return best?.one;
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_.]/g, '');
}

/**
 * Slips from one word to the other. A beginning counts as somewhat less than one: who types `rune` has typed `run`
 * whole, and did not mean `prune`.
 */
function distance(a: string, b: string): number {
  if (a === b) return 0;
  const isBeginning = a.length > 1 && b.length > 1 && (a.startsWith(b) || b.startsWith(a));
  return isBeginning ? 0.9 : slips(a, b);
}

/** Letters that are too many, too few, wrong or changed with their neighbour (optimal string alignment). */
function slips(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number): number => rows[row]?.[column] ?? Infinity;
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j += 1) {
      const isSame = a[i - 1] === b[j - 1];
      const isTurned = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(
        Math.min(
          at(i - 1, j) + 1,
          at(i, j - 1) + 1,
          at(i - 1, j - 1) + (isSame ? 0 : 1),
          isTurned ? at(i - 2, j - 2) + 1 : Infinity,
        ),
      );
    }
  }
  return at(a.length, b.length);
}
