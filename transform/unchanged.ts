import type { ExportFormat, Slice, TableName } from '../pipeline/staging/layout.js';
import { exportKey } from '../pipeline/staging/layout.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import { readTransformManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { tableColumns, tableNames } from '../pipeline/staging/tables.js';

/** What the tables of a slice are made from. */
export interface Recipe {
  extraction: string;
  /** sha256 of the extraction's manifest. */
  source: string;
  tag: string;
  tables: readonly TableName[];
  formats: readonly ExportFormat[];
}

/**
 * The slice's transform manifest if its files are there and were made by the same recipe, so that making
 * them again would change nothing; else `undefined`.
 */
export async function findUnchanged(
  staging: Staging,
  slice: Slice,
  recipe: Recipe,
): Promise<TransformManifest | undefined> {
  const manifest = (await readTransformManifest(staging, slice))?.manifest;
  if (
    manifest === undefined ||
    manifest.extraction !== recipe.extraction ||
    manifest.source !== recipe.source ||
    manifest.tag !== recipe.tag ||
    // An older version's manifest lacks it, or names other columns.
    manifest.columns !== tableColumns()
  )
    return undefined;
  const files = tableNames.flatMap((table) => manifest[table]?.files ?? []);
  const wanted = recipe.formats.flatMap((format) =>
    recipe.tables.map((table) => exportKey(format, table, slice)),
  );
  if (wanted.length !== files.length || !wanted.every((key) => files.some((f) => f.key === key)))
    return undefined;
  for (const file of files) {
    if ((await sizeOf(staging, file.key)) !== file.bytes) return undefined;
  }
  return manifest;
}

async function sizeOf(staging: Staging, key: string): Promise<number | undefined> {
  for await (const file of staging.list(key)) if (file.key === key) return file.size;
  return undefined;
}
