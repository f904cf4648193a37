import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { localStaging } from '../../pipeline/staging/local.js';
import type { Staging } from '../../pipeline/staging/staging.js';

/** A staging area in a folder of its own, removed when the test ends. */
export async function temporaryStaging(t: ExecutionContext): Promise<Staging> {
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return localStaging(folder);
}
