import type { Month } from '../month.js';
import type { Slice } from '../staging/layout.js';
import {
  manifestPrefix,
  parseExtractionKey,
  parseTransformManifestKey,
  rawPrefix,
} from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';

/** Every month and organization of which anything is staged, by month and name; of these months, if given. */
export async function stagedSlices(
  staging: Staging,
  months: readonly Month[] | undefined,
): Promise<Slice[]> {
  const found = new Map<string, Slice>();
  const add = (slice: Slice | undefined): void => {
    if (slice === undefined) return;
    const { month, organization } = slice;
    found.set(`${month} ${organization}`, { month, organization });
  };
  for (const month of months ?? [undefined]) {
    for await (const { key } of staging.list(rawPrefix(month))) add(parseExtractionKey(key));
    for await (const { key } of staging.list(manifestPrefix(month)))
      add(parseTransformManifestKey(key));
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, slice]) => slice);
}
