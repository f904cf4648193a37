import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { PruneReport, PruneRequest } from '../../../pipeline/inspect/pruning.js';
import { prune } from '../../../pipeline/inspect/pruning.js';
import { DataError, TransientError, UsageError } from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import { plainScope } from '../../../pipeline/shared/scope.js';
import {
  choiceKey,
  extractionPrefix,
  pageFile,
  transformManifestKey,
} from '../../../pipeline/staging/layout.js';
import { survey } from '../../../pipeline/staging/extractions.js';
import { takeLease } from '../../../pipeline/staging/lease.js';
import { parseStagingLocation } from '../../../pipeline/staging/open.js';
import type { Staging } from '../../../pipeline/staging/staging.js';
import { makeExtraction } from '../../support/extraction.js';
import { october, stageSlice } from '../../support/staged-slice.js';
import { temporaryStaging } from '../../support/staging.js';
import { keysOf, listed } from '../staging/contract.js';
import { startBuckets } from '../staging/s3-buckets.js';

const { bucketFor } = await startBuckets(test);
const silent = { debug() {}, info() {}, warn() {}, error() {} } as PruneRequest['log'];
const september = { ...october, month: parseMonth('2026-09') };
const internal = { ...october, organization: 'internal' };

function run(staging: Staging, request: Partial<PruneRequest> = {}): Promise<PruneReport> {
  return prune({
    config: {
      staging: parseStagingLocation(staging.location),
      stagingOptions: {},
      concurrency: 4,
      waitSeconds: 0,
    },
    keep: 1,
    months: undefined,
    organizations: undefined,
    dryRun: false,
    signal: new AbortController().signal,
    log: silent,
    onWait: () => undefined,
    now: () => new Date('2026-11-20T00:00:00Z'),
    ...request,
  });
}

const name = (day: number): string => `202611${String(day).padStart(2, '0')}T020304Z`;

async function unfinished(staging: Staging, slice: typeof october, day: number): Promise<void> {
  const prefix = extractionPrefix(slice, name(day));
  await staging.write(prefix + pageFile('cost-and-usage', 1), Buffer.from('{}'));
}

/** Finished extractions of the days 1, 3, 5 and 7, unfinished ones of 2, 6 and 9. */
async function history(staging: Staging): Promise<void> {
  for (const day of [1, 3, 5, 7]) await makeExtraction(staging, october, { extraction: name(day) });
  for (const day of [2, 6, 9]) await unfinished(staging, october, day);
}

const drivers: Record<string, (t: ExecutionContext) => Promise<Staging>> = {
  'a folder': temporaryStaging,
  'a bucket': () => Promise.resolve(bucketFor({ pageSize: 3 }).staging),
};

const removedDays = ({ removed }: PruneReport): string[] =>
  removed.map(({ extraction }) => extraction.slice(6, 8));

for (const [place, open] of Object.entries(drivers)) {
  test(`${place}: the newest N finished extractions stay, and an unfinished one that may go on`, async (t) => {
    const staging = await open(t);
    await history(staging);
    const before = await listed(staging, '');

    const dry = await run(staging, { keep: 2, dryRun: true });
    t.deepEqual(removedDays(dry), ['01', '02', '03', '06']);
    t.deepEqual(await listed(staging, ''), before, 'a dry run removes nothing');

    const done = await run(staging, { keep: 2 });
    t.deepEqual(done, dry);
    t.deepEqual((await survey(staging, october)).finished, [name(5), name(7)]);
    const after = await listed(staging, '');
    const left = new Set(after.map(({ key }) => key.split('/')[3]));
    t.deepEqual(left, new Set([name(5), name(7), name(9)]));
    const sum = (files: typeof before): number => files.reduce((all, { size }) => all + size, 0);
    t.is(
      done.removed.reduce((all, { files }) => all + files, 0),
      before.length - after.length,
    );
    t.is(
      done.removed.reduce((all, { bytes }) => all + bytes, 0),
      sum(before) - sum(after),
    );

    t.deepEqual(removedDays(await run(staging, { keep: 1 })), ['05']);
    t.deepEqual(removedDays(await run(staging, { keep: 1 })), []);
  });

  test(`${place}: what the tables were made from stays`, async (t) => {
    const staging = await open(t);
    await history(staging);
    const empty = { customers: [], consumption: [] };
    await stageSlice(staging, october, empty, { extraction: name(3) });
    t.deepEqual(removedDays(await run(staging)), ['01', '02', '05', '06']);
    await stageSlice(staging, october, empty, { extraction: name(7) });
    t.deepEqual(removedDays(await run(staging)), ['03']);
  });
}

test('a stopped fetch of the last day stays, whatever was fetched since', async (t) => {
  const staging = await temporaryStaging(t);
  await history(staging);
  const now = (): Date => new Date('2026-11-07T02:03:04Z');
  t.deepEqual(removedDays(await run(staging, { now })), ['01', '02', '03', '05']);
  t.deepEqual(removedDays(await run(staging)), ['06']);
});

test('a month that was never finished keeps everything', async (t) => {
  const staging = await temporaryStaging(t);
  for (const day of [1, 2]) await unfinished(staging, october, day);
  t.deepEqual(await run(staging), { removed: [], failures: [] });
  t.is((await keysOf(staging, 'raw/')).length, 2);
});

test('months and organizations are chosen, and reported in their order', async (t) => {
  const staging = await temporaryStaging(t);
  for (const slice of [october, internal, september]) {
    for (const day of [1, 2]) await makeExtraction(staging, slice, { extraction: name(day) });
  }
  const places = ({ removed }: PruneReport): string[] =>
    removed.map(({ month, organization }) => `${month} ${organization}`);
  t.deepEqual(places(await run(staging, { dryRun: true })), [
    '2026-09 oab',
    '2026-10 internal',
    '2026-10 oab',
  ]);
  const chosen = await run(staging, { months: [october.month], organizations: ['oab'] });
  t.deepEqual(places(chosen), ['2026-10 oab']);
  t.deepEqual(places(await run(staging, { organizations: ['internal'] })), ['2026-10 internal']);
  t.deepEqual(places(await run(staging)), ['2026-09 oab']);
});

test('a wrong place or a wrong name is said', async (t) => {
  const staging = await temporaryStaging(t);
  await t.throwsAsync(run(staging), { instanceOf: DataError, message: 'nothing is staged' });
  await makeExtraction(staging, october, {});
  await t.throwsAsync(run(staging, { months: [september.month] }), {
    instanceOf: DataError,
    message: 'nothing is staged for 2026-09',
  });
  const error = await t.throwsAsync(run(staging, { organizations: ['obb'] }), {
    instanceOf: UsageError,
  });
  t.is(error.next, 'choose among oab');
});

test('a month that another run holds is left alone, and the others are pruned', async (t) => {
  const staging = await temporaryStaging(t);
  for (const slice of [october, internal]) {
    for (const day of [1, 2]) await makeExtraction(staging, slice, { extraction: name(day) });
  }
  const signal = new AbortController().signal;
  const lease = await takeLease(staging, october, { waitSeconds: 0, signal });
  const { removed, failures } = await run(staging);
  t.deepEqual(
    removed.map(({ organization }) => organization),
    ['internal'],
  );
  t.is(failures.length, 1);
  t.true(failures[0]?.error instanceof TransientError);
  t.regex((failures[0]?.error as Error).message, /another run holds 2026-10 of oab/);
  t.is((await survey(staging, october)).finished.length, 2);
  await lease.release();
  t.is((await run(staging)).removed.length, 1);
  t.deepEqual(await keysOf(staging, 'leases/'), []);
});

test('a transform manifest that cannot be read may name any extraction, so all stay', async (t) => {
  const staging = await temporaryStaging(t);
  await history(staging);
  await staging.write(transformManifestKey(october), Buffer.from('{'));
  const { removed, failures } = await run(staging);
  t.deepEqual(removed, []);
  t.true(failures[0]?.error instanceof DataError);
  t.is((await survey(staging, october)).finished.length, 4);
});

test('the manifest goes first: what a failure leaves is no extraction, and goes the next time', async (t) => {
  const { staging, strike } = bucketFor();
  for (const day of [1, 2]) await makeExtraction(staging, october, { extraction: name(day) });
  strike({
    operation: 'DeleteObject',
    // The manifest and one page pass.
    skip: 2,
    effect: { kind: 'refuse', status: 403, code: 'AccessDenied' },
  });
  const { removed, failures } = await run(staging);
  t.deepEqual(removed, []);
  t.is(failures.length, 1);
  t.deepEqual((await survey(staging, october)).finished, [name(2)]);
  t.is((await keysOf(staging, extractionPrefix(october, name(1)))).length, 1);
  t.deepEqual(removedDays(await run(staging)), ['01']);
});

test('an interrupted prune stops before the next file', async (t) => {
  const staging = await temporaryStaging(t);
  await history(staging);
  const controller = new AbortController();
  controller.abort();
  const { removed, failures } = await run(staging, { signal: controller.signal });
  t.deepEqual(removed, []);
  t.is((failures[0]?.error as Error).name, 'InterruptedError');
});

test('the newest of each detail stay, and the one that a later run has chosen', async (t) => {
  const staging = await temporaryStaging(t);
  const scope = { ...plainScope, detail: 'usage-type' } as const;
  for (const day of [1, 3, 5]) await makeExtraction(staging, october, { extraction: name(day) });
  for (const day of [2, 4, 6, 7])
    await makeExtraction(staging, october, { extraction: name(day), manifest: { scope } });
  await staging.write(choiceKey(october, name(8), name(3)), Buffer.from('{}'));
  const { removed, failures } = await run(staging, { keep: 2 });
  t.deepEqual(failures, []);
  t.deepEqual(
    removed.map(({ extraction }) => extraction),
    [name(1), name(2), name(4)],
  );
  const left = await run(staging, { keep: 1 });
  t.deepEqual(
    left.removed.map(({ extraction }) => extraction),
    [name(6)],
  );
  t.like(await survey(staging, october), {
    current: name(3),
    finished: [name(3), name(5), name(7)],
  });
});
