import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { Database } from '../../load/database.js';
import { openDatabase } from '../../load/database.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import type { LoadTask } from '../../load/load.js';
import { load } from '../../load/load.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import type { Outcome } from '../../pipeline/shared/outcome.js';
import { localStaging } from '../../pipeline/staging/local.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { october } from './staged-slice.js';

export const silent = pino({ level: 'silent' });

/** A temporary folder that goes with the test. */
export async function temporaryFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-load-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function temporaryStaging(t: ExecutionContext): Promise<Staging> {
  return localStaging(join(await temporaryFolder(t), 'staging'));
}

/** Opens a database that is closed with the test. */
export async function openFor(t: ExecutionContext, url: string): Promise<Database> {
  const database = await openDatabase(parseDatabaseUrl(url), { log: silent });
  t.teardown(() => database.close());
  return database;
}

/** Loads a slice (October of oab) with ordinary settings. */
export function loadSlice(
  staging: Staging,
  database: Database,
  settings: Partial<LoadTask> = {},
): Promise<Outcome> {
  return load({
    staging,
    database,
    slice: october,
    // A run forces a load once: each that is forced here is a run of its own.
    runId: settings.force === true ? randomUUID() : 'run-1',
    tolerance: parseAmount('0.01').units,
    provisionalDays: 10,
    force: false,
    signal: new AbortController().signal,
    log: silent,
    onProgress: () => undefined,
    now: () => new Date('2026-11-01T02:03:04.567Z'),
    ...settings,
  });
}
