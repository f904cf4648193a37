import type { Slice } from './layout.js';
import { extractionManifestKey, parseExtractionKey, rawPrefix } from './layout.js';
import type { StagedFile, Staging } from './staging.js';

/** One extraction as its files show it. */
export interface StagedExtraction {
  name: string;
  /** Whether it has a manifest. */
  finished: boolean;
  files: readonly StagedFile[];
}

/** Every extraction of a slice, oldest first. */
export async function listExtractions(staging: Staging, slice: Slice): Promise<StagedExtraction[]> {
  const files = new Map<string, StagedFile[]>();
  for await (const file of staging.list(rawPrefix(slice.month, slice.organization))) {
    const name = parseExtractionKey(file.key)?.extraction;
    if (name !== undefined) files.set(name, [...(files.get(name) ?? []), file]);
  }
  return [...files.keys()].sort().map((name) => {
    const own = files.get(name) ?? [];
    const manifest = extractionManifestKey(slice, name);
    return { name, finished: own.some(({ key }) => key === manifest), files: own };
  });
}
