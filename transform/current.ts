import { DataError } from '../pipeline/errors.js';
import { sha256Of } from '../pipeline/staging/bytes.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { extractionManifestKey } from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { finishedExtractions, readExtractionManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';

/**
 * The slice's newest finished extraction, and the sha256 of its manifest.
 * @throws {DataError} when there is none, or its manifest is another extraction's.
 */
export async function currentExtraction(
  staging: Staging,
  slice: Slice,
): Promise<{ manifest: ExtractionManifest; source: string }> {
  const extraction = (await finishedExtractions(staging, slice)).at(-1);
  if (extraction === undefined) throw notStaged(staging, slice);
  return readExtraction(staging, slice, extraction);
}

/**
 * One finished extraction of the slice, and the sha256 of its manifest.
 * @throws {DataError} when there is no such extraction, or its manifest is another one's.
 */
export async function readExtraction(
  staging: Staging,
  slice: Slice,
  extraction: string,
): Promise<{ manifest: ExtractionManifest; source: string }> {
  const found = await readExtractionManifest(staging, slice, extraction);
  if (found === undefined) throw notStaged(staging, slice);
  const { manifest, bytes } = found;
  if (
    manifest.month !== slice.month ||
    manifest.organization !== slice.organization ||
    manifest.extraction !== extraction
  ) {
    throw new DataError(
      `the manifest belongs to another extraction: ${manifest.month} of ${manifest.organization}, ${manifest.extraction}`,
      {
        where: `${staging.location}/${extractionManifestKey(slice, extraction)}`,
        next: 'put the staged files back where they were',
      },
    );
  }
  return { manifest, source: sha256Of(bytes) };
}

function notStaged({ location }: Staging, { month, organization }: Slice): DataError {
  return new DataError(`nothing is staged for ${month} of ${organization}`, {
    where: location,
    next: `run "pipeline run --stage extract --month ${month} --organization ${organization}"`,
  });
}
