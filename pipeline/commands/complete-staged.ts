import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isBreakdown, writtenAs } from '../shared/dimensions.js';
import { openRegular } from '../shared/files.js';
import type { Slice } from '../staging/layout.js';
import {
  exportKey,
  manifestPrefix,
  monthFolder,
  parseRawFolder,
  parseTransformManifestKey,
  rawPrefix,
  transformManifestKey,
} from '../staging/layout.js';

/** What stands in a staging area that is a folder, as far as a Tab has the time to look. What cannot be read is not there. */

/** Milliseconds after which no further file is read, and the bytes of one that are. */
const LONGEST = 200;
const MOST = 1 << 20;

/** The months and organizations. */
export async function slicesIn(folder: string): Promise<Slice[]> {
  const found = await Promise.all([
    slicesBelow(folder, rawPrefix(), parseRawFolder),
    slicesBelow(folder, manifestPrefix(), parseTransformManifestKey),
  ]);
  return found.flat();
}

/** The slices whose names stand below a prefix. */
async function slicesBelow(
  folder: string,
  prefix: string,
  parse: (key: string) => Slice | undefined,
): Promise<Slice[]> {
  const namesIn = (key: string): Promise<string[]> => readdir(join(folder, key)).catch(() => []);
  const months = await namesIn(prefix);
  const found = await Promise.all(
    months.map(async (month) => {
      const names = await namesIn(`${prefix}${month}`);
      return names.flatMap((name) => parse(`${prefix}${month}/${name}`) ?? []);
    }),
  );
  return found.flat();
}

/** The accounts of the newest month that was made into tables, with their names: letters, digits and plain signs. */
export async function customersIn(folder: string): Promise<{ value: string; text: string }[]> {
  const names = new Map<string, string>();
  const texts = newestTexts(folder, (slice) => exportKey('csv', 'customers', slice));
  for await (const text of texts)
    for (const [, id = '', quoted, plain = ''] of text.matchAll(customer))
      names.set(id, (quoted ?? plain).replaceAll(/[^\p{L}\p{N} .,&()_-]/gu, '·'));
  return [...names].sort().map(([value, text]) => ({ value, text }));
}

/** The beginning of a row of the CSV: Reference, TenantName. */
const customer = /^(\d{12}),(?:"((?:[^"]|"")*)"|([^",\r\n]*)),/gm;

/** What the cost of the newest month is split by, as a setting writes it, where no shell needs quotes for it. */
export async function breakdownsIn(folder: string): Promise<string[]> {
  const found = new Set<string>();
  for await (const text of newestTexts(folder, transformManifestKey)) {
    for (const one of askedFor(text)) if (isBreakdown(one)) found.add(writtenAs(one));
  }
  return [...found].filter((one) => /^[\w:./@+-]+$/.test(one)).sort();
}

/** What a manifest says that was asked for: anything. */
function askedFor(manifest: string): unknown[] {
  try {
    const { scope } = JSON.parse(manifest) as { scope?: { by?: unknown } };
    return Array.isArray(scope?.by) ? scope.by : [];
  } catch {
    return [];
  }
}

/** A file of each organization of the newest month that has tables. */
async function* newestTexts(
  folder: string,
  keyOf: (slice: Slice) => string,
): AsyncGenerator<string, void, undefined> {
  const end = performance.now() + LONGEST;
  const slices = await slicesBelow(folder, manifestPrefix(), parseTransformManifestKey);
  const keys = slices.map(keyOf).sort();
  const newest = keys.map(monthFolder).at(-1);
  for (const key of keys) {
    if (monthFolder(key) !== newest) continue;
    const text = await beginningOf(join(folder, key)).catch(() => undefined);
    if (text !== undefined) yield text;
    if (performance.now() > end) return;
  }
}

async function beginningOf(path: string): Promise<string | undefined> {
  const opened = await openRegular(path);
  if (opened === undefined) return undefined;
  try {
    const { buffer, bytesRead } = await opened.file.read(Buffer.alloc(MOST), 0, MOST, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await opened.file.close();
  }
}
