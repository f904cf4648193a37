import type { Staging } from '../../pipeline/staging/staging.js';
import { digest } from '../../pipeline/staging/staging.js';

/** Every Parquet and CSV file of a staging area: key → sha256. */
export async function exportsOf(staging: Staging): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const prefix of ['csv/', 'parquet/']) {
    for await (const { key } of staging.list(prefix)) {
      const content = await staging.read(key);
      if (content !== undefined) found[key] = (await digest(content)).sha256;
    }
  }
  return found;
}

/** Copies every file below a prefix from one staging area to another. */
export async function copyFiles(from: Staging, to: Staging, prefix: string): Promise<number> {
  let files = 0;
  for await (const { key } of from.list(prefix)) {
    const content = await from.read(key);
    if (content === undefined) continue;
    await to.write(key, content);
    files += 1;
  }
  return files;
}
