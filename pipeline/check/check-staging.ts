import { randomUUID } from 'node:crypto';
import type { Checklist } from './check-lines.js';
import type { Config } from '../config.js';
import { ConfigurationError, DataError } from '../errors.js';
import { readAll } from '../staging/bytes.js';
import { probeKey } from '../staging/layout.js';
import { openStaging } from '../staging/open.js';
import type { Staging } from '../staging/staging.js';

/** Writes, reads, lists and removes a file of its own in the staging area. */
export async function checkStaging(
  config: Config,
  signal: AbortSignal,
  list: Checklist,
): Promise<void> {
  await list.step('staging area', async () => {
    const staging = await openStaging(config.staging, { ...config.stagingOptions, signal });
    const key = probeKey(randomUUID());
    try {
      await probe(staging, key);
    } catch (error) {
      // The first failure is the one to tell; what is left is a small file that no stage reads.
      await staging.remove(key).catch(() => undefined);
      throw error;
    }
    return { found: true, text: `${staging.location}: write, read, list and remove work` };
  });
}

async function probe(staging: Staging, key: string): Promise<void> {
  const where = `${staging.location}/${key}`;
  const content = new TextEncoder().encode('{"purpose":"pipeline check"}\n');
  await staging.write(key, content);
  if (await staging.write(key, content, { ifAbsent: true })) {
    throw new ConfigurationError('the staging area overwrites what is to be written only once', {
      where,
      next: 'take a store that honours conditional writes (If-None-Match): leases stand on them',
    });
  }
  const read = await staging.read(key);
  const bytes = read === undefined ? undefined : await readAll(read);
  if (bytes === undefined || Buffer.compare(bytes, content) !== 0)
    throw new DataError('the staging area gives back something else than was written', { where });
  if (!(await lists(staging, key)))
    throw new DataError('the staging area does not list what was written', { where });
  await staging.remove(key);
  if (await lists(staging, key))
    throw new DataError('the staging area lists what was removed', { where });
}

async function lists(staging: Staging, key: string): Promise<boolean> {
  let found = false;
  for await (const file of staging.list(key)) found ||= file.key === key;
  return found;
}
