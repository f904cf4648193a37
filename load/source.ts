import { advice, nextRun, transformAgain } from '../pipeline/shared/commands.js';
import { DataError } from '../pipeline/shared/errors.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import { exportKey, transformManifestKey } from '../pipeline/staging/layout.js';
import type { ExportedFile, TransformManifest } from '../pipeline/staging/manifest.js';
import { readTransformManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { digest, sha256Of } from '../pipeline/staging/staging.js';

/** What is to be loaded: the slice's manifest and its files of the standard profile. */
export interface Source {
  manifest: TransformManifest;
  /** `charges` only where the month was asked for by charge type. */
  files: Record<'customers' | 'consumption', ExportedFile> &
    Partial<Record<TableName, ExportedFile>>;
  /** SHA-256 over the files' SHA-256: changes exactly when the content to load does. */
  sha256: string;
}

/**
 * Finds what the transform stage left for a slice.
 * @throws {DataError} when it left nothing, or nothing of the standard profile.
 */
export async function findSource(staging: Staging, slice: Slice): Promise<Source> {
  const where = `${staging.location}/${transformManifestKey(slice)}`;
  const found = await readTransformManifest(staging, slice);
  if (found === undefined) {
    throw new DataError('nothing to load: the month is not transformed yet', {
      where,
      ...advice('run', nextRun(['transform'], slice), ' first'),
    });
  }
  const { manifest } = found;
  if (manifest.month !== slice.month || manifest.organization !== slice.organization) {
    throw new DataError(
      `the manifest belongs to ${manifest.month} of ${manifest.organization}, not to this place`,
      { where, ...advice('make it anew with', transformAgain(slice)) },
    );
  }
  const fileOf = (table: TableName): ExportedFile => {
    const key = exportKey('parquet', table, slice);
    const file = manifest[table]?.files.find((candidate) => candidate.key === key);
    if (file !== undefined) return file;
    throw new DataError(
      `nothing to load: ${table} was exported without Parquet's standard profile`,
      {
        where,
        ...advice('run', nextRun(['transform'], slice, '--force', '--parquet', 'standard')),
      },
    );
  };
  const files = {
    customers: fileOf('customers'),
    consumption: fileOf('consumption'),
    ...(manifest.charges === undefined ? {} : { charges: fileOf('charges') }),
  };
  const digests = Object.values(files).map((file) => `${file.sha256}\n`);
  const sha256 = sha256Of(new TextEncoder().encode(digests.join('')));
  return { manifest, files, sha256 };
}

/**
 * Compares both files' length and SHA-256 with the manifest.
 * @throws {DataError} when one is missing or differs.
 */
export async function checkFiles(staging: Staging, source: Source): Promise<void> {
  const remake = advice('make it anew with', transformAgain(source.manifest));
  for (const file of Object.values(source.files)) {
    const where = `${staging.location}/${file.key}`;
    const content = await staging.read(file.key);
    if (content === undefined)
      throw new DataError('the file of the manifest is missing', { where, ...remake });
    const { bytes, sha256 } = await digest(content);
    if (bytes !== file.bytes || sha256 !== file.sha256) {
      throw new DataError(
        `the file is not the one of the manifest: expected ${file.bytes} bytes with sha256 ${file.sha256}, found ${bytes} bytes with ${sha256}`,
        { where, ...remake },
      );
    }
  }
}
