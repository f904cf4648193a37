import { parseMonth } from '../../pipeline/shared/month.js';
import type { Outcome } from '../../pipeline/shared/outcome.js';
import { currentOnce } from '../../pipeline/staging/extractions.js';
import type { ExportFormat, Slice, TableName } from '../../pipeline/staging/layout.js';
import { exportKey } from '../../pipeline/staging/layout.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { readAll } from '../../pipeline/staging/staging.js';
import type { TransformTask } from '../../transform/transform.js';
import { transform } from '../../transform/transform.js';

export const slice: Slice = { month: parseMonth('2026-10'), organization: 'oab' };

const silence = (): void => undefined;

/** The transform stage's task on the test slice. */
export function taskOf(staging: Staging, task: Partial<TransformTask> = {}): TransformTask {
  return {
    staging,
    slice,
    current: currentOnce(staging),
    tag: 'aws',
    parquet: 'standard',
    provisionalDays: 10,
    force: false,
    signal: new AbortController().signal,
    log: { debug: silence, info: silence, warn: silence, error: silence },
    onProgress: silence,
    now: () => new Date('2026-11-02T00:00:00Z'),
    ...task,
  };
}

/** Runs the transform stage on the test slice. */
export async function run(staging: Staging, task: Partial<TransformTask> = {}): Promise<Outcome> {
  return transform(taskOf(staging, task));
}

/** Path of an export file of the test slice. */
export function pathOf(staging: Staging, format: ExportFormat, table: TableName): string {
  return `${staging.location}/${exportKey(format, table, slice)}`;
}

/** Every file of the staging area with its content, byte for byte. */
export async function snapshot(staging: Staging, prefix = ''): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for await (const { key } of staging.list(prefix)) {
    const content = await staging.read(key);
    if (content !== undefined) {
      files.set(key, Buffer.from(await readAll(content)).toString('latin1'));
    }
  }
  return files;
}
