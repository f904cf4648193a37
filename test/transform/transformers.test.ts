import test from 'ava';
import { readdir } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import type { PipelineError } from '../../pipeline/errors.js';
import {
  ConfigurationError,
  DataError,
  InterruptedError,
  TransientError,
  UsageError,
} from '../../pipeline/errors.js';
import type { Outcome } from '../../pipeline/outcome.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { describeThrown, restoreThrown } from '../../transform/thrown.js';
import type { TransformTask } from '../../transform/transform.js';
import type { Transformers } from '../../transform/transformers.js';
import { openTransformers } from '../../transform/transformers.js';
import { costAnswer, group, makeExtraction } from '../support/extraction.js';
import { temporaryStaging } from '../support/staging.js';
import { run, slice, snapshot, taskOf } from '../support/transform.js';

/** Threads beside the main one, which has its hands full for as long as the tests run. */
function openThreads(threads: number): Transformers {
  const transformers = openTransformers(threads);
  void transformers.make(neverBegun, () => new Promise(() => undefined));
  return transformers;
}
const neverBegun = {} as TransformTask;
const elsewhere = (): Promise<never> => Promise.reject(new Error('not in a thread of its own'));
const threads = openThreads(2);
const make = (task: TransformTask): Promise<Outcome> => threads.make(task, elsewhere);
test.after.always(() => threads.close());

const account = (index: number): string => String(index).padStart(12, '0');

/** An extraction of so many pages of 100 rows each. */
async function stage(staging: Staging, pages: number, extraction: string): Promise<void> {
  const costs = Array.from({ length: pages }, (_, page) =>
    costAnswer(
      Array.from({ length: 100 }, (__, row) =>
        group(`Service ${row}`, account(page), `${page}.${row}1`),
      ),
    ),
  );
  await makeExtraction(staging, slice, { costs, extraction });
}

test('a thread makes the same files as the main thread, and tells how far it is', async (t) => {
  const staging = await temporaryStaging(t);
  await stage(staging, 30, '20261101T000000Z');
  const here = await run(staging, { parquet: 'basic' });
  const files = await snapshot(staging);
  const texts: string[] = [];
  const lines: unknown[] = [];
  const task = taskOf(staging, {
    force: true,
    parquet: 'basic',
    onProgress: (text) => texts.push(text),
    log: { ...taskOf(staging).log, info: (...words: unknown[]) => lines.push(words) },
  });
  const there = await Promise.all([make(task)]);
  t.deepEqual(there, [here]);
  t.deepEqual(
    new Map([...(await snapshot(staging))].map(([key, text]) => [key, withoutTime(text)])),
    new Map([...files].map(([key, text]) => [key, withoutTime(text)])),
  );
  t.is(texts.at(-1), '3000 of 3000 rows');
  t.is(texts.length, 30);
  t.deepEqual(lines, [['accounts with consumption that the organization does not list: 30']]);
});

/** Only the manifest says when it was made; the clock goes on between two runs. */
const withoutTime = (text: string): string => text.replace(/"finished": "2026-11-02T[^"]*"/, '');

test('what is wrong with a page is said in the same words, and the former files stay', async (t) => {
  const staging = await temporaryStaging(t);
  await stage(staging, 2, '20261101T000000Z');
  await run(staging);
  await makeExtraction(staging, slice, {
    costs: [costAnswer([group('Tax', account(1), '1'), group('Tax', account(2), '1,5')])],
    extraction: '20261102T000000Z',
  });
  const files = await snapshot(staging);
  const error: PipelineError = await t.throwsAsync(make(taskOf(staging)), {
    instanceOf: DataError,
    message: 'row 2 has a wrong amount: "1,5" is not a decimal number',
  });
  t.regex(error.where ?? '', /cost-and-usage-00001\.json$/);
  t.regex(error.next ?? '', /^fetch the month again/);
  t.deepEqual(await snapshot(staging), files);
  t.deepEqual(await readdir(`${staging.location}/.tmp`), []);
});

for (const reason of [
  undefined,
  new TransientError('the lease was lost', { where: 'there', next: 'run it again' }),
]) {
  const name = reason?.message ?? 'an interruption';
  test(`${name} stops a thread between two pages, and the thread goes on with others`, async (t) => {
    const staging = await temporaryStaging(t);
    await stage(staging, 3, '20261101T000000Z');
    await run(staging);
    await stage(staging, 200, '20261102T000000Z');
    const files = await snapshot(staging);
    const controller = new AbortController();
    const error: PipelineError = await t.throwsAsync(
      make(
        taskOf(staging, {
          signal: controller.signal,
          onProgress: () => {
            controller.abort(reason);
          },
        }),
      ),
      { instanceOf: reason === undefined ? InterruptedError : TransientError },
    );
    t.is(error.next, reason?.next ?? new InterruptedError().next);
    t.deepEqual(await snapshot(staging), files);
    t.deepEqual(await readdir(`${staging.location}/.tmp`), []);
    t.like(await make(taskOf(staging)), { rows: 20_000 });
  });
}

test('a task that was stopped before its thread began is not begun', async (t) => {
  const staging = await temporaryStaging(t);
  await stage(staging, 3, '20261101T000000Z');
  await t.throwsAsync(make(taskOf(staging, { signal: AbortSignal.abort() })), {
    instanceOf: InterruptedError,
  });
});

for (const file of ['csv/consumption', 'parquet/consumption', 'csv/customers', 'manifests']) {
  test(`a disk that is full at ${file} stops the thread, and the next run goes on`, async (t) => {
    const staging = await temporaryStaging(t);
    await stage(staging, 2, '20261101T000000Z');
    await run(staging);
    await stage(staging, 60, '20261102T000000Z');
    const former = await snapshot(staging, 'manifests/');
    const full: Staging = {
      ...staging,
      async write(key, content, options) {
        if (!key.startsWith(file)) return staging.write(key, content, options);
        if (content instanceof Uint8Array)
          throw new TransientError('the disk is full', { where: key });
        for await (const chunk of content)
          if (chunk.length > 0) throw new TransientError('the disk is full', { where: key });
        return true;
      },
    };
    const error: PipelineError = await t.throwsAsync(make(taskOf(full)), {
      instanceOf: TransientError,
      message: 'the disk is full',
    });
    t.true(error.where?.startsWith(file));
    t.deepEqual(await snapshot(staging, 'manifests/'), former);
    t.deepEqual(await readdir(`${staging.location}/.tmp`), []);
    t.like(await make(taskOf(staging)), { state: 'done', rows: 6000 });
  });
}

test('more tasks than threads wait for their turn', async (t) => {
  const stagings = await Promise.all(Array.from({ length: 7 }, () => temporaryStaging(t)));
  for (const staging of stagings) await stage(staging, 2, '20261101T000000Z');
  const outcomes = await Promise.all(stagings.map((staging) => make(taskOf(staging))));
  t.deepEqual(
    outcomes.map(({ rows }) => rows),
    stagings.map(() => 200),
  );
});

test('the main thread takes its part, and long tasks only are shared', async (t) => {
  const staging = await temporaryStaging(t);
  await stage(staging, 2, '20261101T000000Z');
  const alone = openTransformers(0);
  const outcome = await run(staging);
  t.deepEqual(
    await Promise.all([1, 2, 3].map(() => alone.make(neverBegun, () => Promise.resolve(outcome)))),
    [outcome, outcome, outcome],
  );
  t.like(await run(staging, { force: true, share: elsewhere }), { state: 'done', rows: 200 });
  await stage(staging, 500, '20261102T000000Z');
  await t.throwsAsync(run(staging, { share: elsewhere }), { message: /thread of its own/ });
  t.deepEqual(await run(staging, { share: () => Promise.resolve(outcome) }), outcome);
});

test('threads that are ended fail their tasks, and leave nothing behind', async (t) => {
  const staging = await temporaryStaging(t);
  await stage(staging, 200, '20261101T000000Z');
  const others = openThreads(1);
  await t.throwsAsync(
    others.make(
      taskOf(staging, {
        onProgress: () => {
          void others.close();
        },
      }),
      elsewhere,
    ),
    { message: /thread/ },
  );
  // The writers of a thread that is gone give up a moment later, and leave nothing aside.
  while ((await readdir(`${staging.location}/.tmp`)).length > 0) await setImmediate();
  t.false((await readdir(staging.location)).includes('manifests'));
});

test('errors keep class, words, place, cause and stack on their way between threads', (t) => {
  const cause = new TypeError('x is not a function');
  const errors: Error[] = [
    new DataError('a', { where: 'b', next: 'c', cause }),
    new TransientError('a', { where: 'b' }),
    new ConfigurationError('a', { next: 'c', cause: 'text' }),
    new UsageError('a'),
    new InterruptedError(),
    cause,
  ];
  for (const error of errors) {
    const restored = restoreThrown(structuredClone(describeThrown(error)));
    t.is(restored.constructor, error === cause ? Error : error.constructor);
    t.is(restored.name, error.name);
    t.is(restored.message, error.message);
    t.is(restored.stack, error.stack);
    const { where, next } = error as Partial<PipelineError>;
    t.like(restored, { where, next });
    t.is(
      (restored.cause as Error | undefined)?.message,
      error.cause instanceof Error ? error.cause.message : (error.cause as string | undefined),
    );
  }
});
