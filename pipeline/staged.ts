import type { Survey } from '../extract/survey.js';
import { surveyOf } from '../extract/survey.js';
import type { Month } from './month.js';
import type { Slice } from './staging/layout.js';
import {
  manifestPrefix,
  parseExtractionKey,
  parseTransformManifestKey,
  RAW,
  rawPrefix,
} from './staging/layout.js';
import type { Staging } from './staging/staging.js';

/** What the staging area's listing tells of a slice. */
export interface StagedSlice {
  slice: Slice;
  survey: Survey;
  /** Whether there is a transform manifest. */
  transformed: boolean;
}

/** Every slice of which anything is staged, by month and organization; of the given months, if any are. */
export async function stagedSlices(
  staging: Staging,
  months?: readonly Month[],
): Promise<StagedSlice[]> {
  const found = new Map<
    string,
    { slice: Slice; files: Map<string, number>; transformed: boolean }
  >();
  const at = (slice: Slice): { files: Map<string, number>; transformed: boolean } => {
    const { month, organization } = slice;
    const name = `${month} ${organization}`;
    const entry = found.get(name) ?? {
      slice: { month, organization },
      files: new Map<string, number>(),
      transformed: false,
    };
    found.set(name, entry);
    return entry;
  };
  for (const prefix of months?.map((month) => rawPrefix(month)) ?? [RAW]) {
    for await (const { key, size } of staging.list(prefix)) {
      const parts = parseExtractionKey(key);
      if (parts !== undefined) at(parts).files.set(key, size);
    }
  }
  for (const prefix of months?.map((month) => manifestPrefix(month)) ?? [manifestPrefix()]) {
    for await (const { key } of staging.list(prefix)) {
      const slice = parseTransformManifestKey(key);
      if (slice !== undefined) at(slice).transformed = true;
    }
  }
  return [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { slice, files, transformed }]) => ({
      slice,
      survey: surveyOf(files),
      transformed,
    }));
}
