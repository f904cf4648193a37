import { advice, nextRun, transformAgain } from '../pipeline/shared/commands.js';
import { DataError } from '../pipeline/shared/errors.js';
import type { Sums, SumsText } from '../pipeline/shared/sums.js';
import { describeSums, formatSums, sameSums } from '../pipeline/shared/sums.js';
import type { CodedColumn, RowBatch } from '../pipeline/staging/batch.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import { exportKey, transformManifestKey } from '../pipeline/staging/layout.js';
import type { ExportedFile, TransformManifest } from '../pipeline/staging/manifest.js';
import { readTransformManifest, tableSums } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAll, sha256Of } from '../pipeline/staging/staging.js';
import { tableNames, tables } from '../pipeline/staging/tables.js';
import type { Origin } from './read-parquet.js';

/** What is to be loaded: the slice's manifest and its files of the standard profile. */
export interface Source {
  manifest: TransformManifest;
  /** Those of the tables that were made: `breakdowns` only where the month was asked for by some. */
  files: Partial<Record<TableName, ExportedFile>>;
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
  const made = tableNames.filter((table) => manifest[table] !== undefined);
  const files = Object.fromEntries(made.map((table) => [table, fileOf(table)]));
  const digests = Object.values(files).map((file) => `${file.sha256}\n`);
  const sha256 = sha256Of(new TextEncoder().encode(digests.join('')));
  return { manifest, files, sha256 };
}

/**
 * The rows of a table that is to be loaded, a row group a batch; none of a table that was not made. Its file is
 * read once, and parsed from the very bytes that were compared with the manifest: memory holds the whole file,
 * some 8 MB a million rows, beside one row group.
 * @param wanted names of the columns to read, see {@link readParquet}.
 * @throws {DataError} when the file is missing, or has another length or SHA-256 than the manifest says, or is no
 * table of the standard profile.
 */
export async function* readTable(
  staging: Staging,
  { manifest, files }: Source,
  table: TableName,
  wanted?: readonly string[],
): AsyncGenerator<RowBatch<CodedColumn>, void, undefined> {
  const file = files[table];
  if (file === undefined) return;
  const origin = {
    where: `${staging.location}/${file.key}`,
    ...advice('make it anew with', transformAgain(manifest)),
  };
  const bytes = await readFile(staging, file, origin);
  // Most who look for a source read none of its rows.
  const { readParquet } = await import('./read-parquet.js');
  yield* readParquet(bytes, tables[table], tableSums(manifest, table).rows, origin, wanted);
}

async function readFile(
  staging: Staging,
  file: ExportedFile,
  origin: Origin,
): Promise<ArrayBuffer> {
  const content = await staging.read(file.key);
  if (content === undefined) throw new DataError('the file of the manifest is missing', origin);
  const bytes = await readAll(content);
  const sha256 = sha256Of(bytes);
  if (bytes.length !== file.bytes || sha256 !== file.sha256) {
    throw new DataError(
      `the file is not the one of the manifest: expected ${file.bytes} bytes with sha256 ${file.sha256}, found ${bytes.length} bytes with ${sha256}`,
      origin,
    );
  }
  return new Uint8Array(bytes).buffer;
}

/**
 * Compares rows, and the exact sum of each column of money and currency, with the manifest.
 * @param what says which rows were counted: `consumption as staged`.
 * @throws {DataError} on any difference.
 */
export function checkSums(
  what: string,
  manifest: TransformManifest,
  table: TableName,
  counted: Sums,
): void {
  const expected = tableSums(manifest, table);
  const found = formatSums(counted);
  if (sameSums(found, expected)) return;
  const describe = (sums: SumsText): string =>
    table === 'customers' ? `${sums.rows} rows` : describeSums(sums);
  throw new DataError(
    `${what}: expected ${describe(expected)}, found ${describe(found)}; nothing was changed`,
    {
      ...advice('run', nextRun(['transform', 'load'], manifest, '--force')),
    },
  );
}
