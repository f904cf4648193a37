import { randomBytes } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { pino } from 'pino';
import { Webhook } from 'standardwebhooks';
import { z } from 'zod';
import type { Hook } from '../../../pipeline/config/hooks.js';
import { slackBody, teamsBody } from '../../../pipeline/run/notice-texts.js';
import { isDue, notify } from '../../../pipeline/run/notify.js';
import type { RunRecord } from '../../../pipeline/run/record.js';
import { recordLine, runRecord } from '../../../pipeline/run/record.js';
import { parseThreshold } from '../../../pipeline/shared/threshold.js';
import { hookServer } from '../../support/hook-server.js';
import { anyCharacter } from '../../support/texts.js';

const slice = { month: '2026-10', organization: 'oab' };

/** The record of a run without news, but for what is given. */
function record(given: Partial<RunRecord> = {}): RunRecord {
  const whole: RunRecord = {
    runId: 'b1b2c3d4-0000-4000-8000-0123456789ab',
    version: '0.1.0',
    started: '2026-11-03T06:00:00.000Z',
    ended: '2026-11-03T06:00:41.500Z',
    seconds: 41.5,
    outcome: 'ok',
    exitCode: 0,
    months: ['2026-10'],
    organizations: ['internal', 'oab'],
    stages: ['extract', 'transform', 'load'],
    tasks: { done: 6, unchanged: 0, failed: 0, stopped: 0, skipped: 0 },
    rows: 3762,
    amounts: { USD: '308055.3800240673' },
    requests: 23,
    priceUsd: '0.23',
    slices: [],
    restated: [],
    finalized: [],
    failures: [],
    absent: [],
    ...given,
  };
  return runRecord.parse(whole);
}

const failed = record({
  outcome: 'failed',
  exitCode: 1,
  tasks: { done: 4, unchanged: 0, failed: 1, stopped: 0, skipped: 1 },
  failures: [
    {
      ...slice,
      stage: 'transform',
      class: 'DataError',
      message: 'the rows are <wrong> & *bold*',
      next: 'run "npx pipeline run --organization spp_ecm"',
    },
  ],
});

const restated = (
  before: string,
  after: string,
  currency = 'USD',
): RunRecord['restated'][number] => ({
  ...slice,
  changed: 1,
  provisionalAgain: false,
  since: '2026-11-02T06:00:00.000Z',
  before: { [currency]: before },
  after: { [currency]: after },
});

const interrupted = record({ outcome: 'interrupted', exitCode: 130 });
const isFinal = record({ finalized: [{ ...slice, since: '2026-11-02T06:00:00.000Z' }] });

for (const [occasion, told, untold] of [
  ['always', [record(), failed, interrupted, isFinal], []],
  ['failure', [failed, interrupted], [record(), isFinal]],
  ['restated', [record({ restated: [restated('1', '1')] })], [record(), failed, isFinal]],
  ['provisional-final', [isFinal], [record(), failed, record({ restated: [restated('1', '2')] })]],
] as const) {
  test(`on ${occasion}`, (t) => {
    const hook = { on: [occasion], thresholds: [] };
    for (const one of told) t.true(isDue(hook, one));
    for (const one of untold) t.false(isDue(hook, one));
  });
}

test('a hook with several occasions is told on each', (t) => {
  const hook = { on: ['failure', 'provisional-final'] as const, thresholds: [] };
  t.true(isDue(hook, failed));
  t.true(isDue(hook, isFinal));
  t.false(isDue(hook, record()));
});

test('restated counts from the threshold on, exactly, and every threshold has to be reached', (t) => {
  const due = (thresholds: readonly string[], ...all: RunRecord['restated']): boolean =>
    isDue(
      { on: ['restated'], thresholds: thresholds.map((text) => parseThreshold(text, 'threshold')) },
      record({ restated: all }),
    );
  t.true(due(['5%'], restated('100', '105')));
  t.false(due(['5%'], restated('100', '104.999999999999999999')));
  t.true(due(['5%'], restated('100', '95')), 'less is a change too');
  t.false(due(['5%', '100USD'], restated('100', '150')));
  t.true(due(['5%', '100USD'], restated('100', '200')));
  t.true(due(['5%'], restated('100', '101'), restated('0', '0.01')), 'one of them is enough');
  t.false(due(['5%'], { ...restated('7', '7'), changed: 4 }), 'the total has not moved');
});

test('Slack makes no mention and no link of any text, and a command stays as it is', (t) => {
  const { text, ...others } = JSON.parse(slackBody(failed, [])) as Record<string, unknown>;
  t.deepEqual(others, { mrkdwn: false, unfurl_links: false, unfurl_media: false });
  t.deepEqual(String(text).split('\n'), [
    'AWS billing run failed: 2026-10',
    '4 done, 1 failed, 1 skipped; 308055.38 USD; 23 Cost Explorer requests, $0.23; 41.5 s',
    '2026-10 oab transform failed: the rows are &lt;wrong&gt; &amp; *bold*; run "npx pipeline run --organization spp_ecm"',
    'run b1b2c3d4-0000-4000-8000-0123456789ab, version 0.1.0',
  ]);
});

test('what to do next stays, however long the message is', (t) => {
  const next =
    'fetch the month again with "npx pipeline run --stage extract --force --month 2026-10"';
  const [failure] = failed.failures;
  const linesOf = (...texts: [message: string, next: string]): string[] => {
    const failures = [{ ...failure!, message: texts[0], next: texts[1] }];
    const { text } = JSON.parse(slackBody({ ...failed, failures }, [])) as { text: string };
    return text.split('\n');
  };
  const long = linesOf('x'.repeat(400), next)[2] ?? '';
  t.regex(long, /^2026-10 oab transform failed: x+…; fetch the month again/);
  t.true(long.endsWith(`; ${next}`), long);
  t.is(long.length, 300);
  const both = linesOf('x'.repeat(400), 'y'.repeat(400))[2] ?? '';
  t.regex(both, /failed: x+…; y{199}…$/);
  t.is(both.length, 300);
});

const card = z.strictObject({
  type: z.literal('message'),
  attachments: z.tuple([
    z.strictObject({
      contentType: z.literal('application/vnd.microsoft.card.adaptive'),
      contentUrl: z.null(),
      content: z.strictObject({
        $schema: z.string(),
        type: z.literal('AdaptiveCard'),
        version: z.literal('1.2'),
        fallbackText: z.string(),
        msteams: z.strictObject({ width: z.literal('Full') }),
        // No TextBlock: it would read its text as Markdown.
        body: z.array(
          z.strictObject({
            type: z.literal('RichTextBlock'),
            inlines: z.tuple([z.looseObject({ type: z.literal('TextRun'), text: z.string() })]),
          }),
        ),
      }),
    }),
  ]),
});

/** The lines of a card. */
function cardLines(body: string): string[] {
  const [{ content }] = card.parse(JSON.parse(body)).attachments;
  return content.body.map(({ inlines: [{ text }] }) => text);
}

test('Teams gets a card whose texts are shown as they are', (t) => {
  const news = record({
    restated: [{ ...restated('100', '123.456'), provisionalAgain: true }],
    finalized: isFinal.finalized,
    absent: [{ ...slice, organization: 'gone' }],
  });
  t.deepEqual(cardLines(teamsBody(news, news.restated)), [
    'AWS billing run done: 2026-10',
    '6 done; 308055.38 USD; 23 Cost Explorer requests, $0.23; 41.5 s',
    '2026-10 oab restated, 1 amount differs; provisional again: 100.00 → 123.46 USD',
    'final now: 2026-10 oab',
    'nothing is there of: 2026-10 gone',
    'run b1b2c3d4-0000-4000-8000-0123456789ab, version 0.1.0',
  ]);
});

test('whatever texts of others hold, a message stays one: in bounds, on its lines, without a sequence of control', (t) => {
  const hostile = fc.oneof(
    fc.string({ unit: anyCharacter, maxLength: 60 }),
    fc.constantFrom('<!channel>', '&lt;', '\u001b[2J\n\n', '[a](https://evil.example)', '\u202e'),
    fc.constantFrom('🌊'.repeat(400), '\u0000'.repeat(400)),
  );
  const [failure] = failed.failures;
  const isHarmless = (texts: readonly string[]): boolean => {
    const failures = texts.map((message) => ({ ...failure!, message, next: message }));
    const bad = { ...failed, failures };
    const body = teamsBody(bad, []);
    const lines = cardLines(body);
    const { text } = z.object({ text: z.string() }).parse(JSON.parse(slackBody(bad, [])));
    const shown = text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
    return (
      Buffer.byteLength(body) < 28 * 1024 &&
      lines.length === 3 + Math.min(texts.length, 6) + (texts.length > 6 ? 1 : 0) &&
      !/[\p{Cc}\p{Cs}\p{Bidi_Control}]/u.test(lines.join('')) &&
      !/[&<>]/.test(text.replaceAll(/&(?:amp|lt|gt);/g, '')) &&
      shown === lines.join('\n')
    );
  };
  fc.assert(fc.property(fc.array(hostile, { maxLength: 9 }), isHarmless), { numRuns: 100 });
  t.pass();
});

/** A log that keeps its warnings. */
function warnings() {
  const told: string[] = [];
  const write = (line: string): void => {
    const { level, msg } = JSON.parse(line) as { level: number; msg: string };
    if (level >= 40) told.push(msg);
  };
  return { told, log: pino({}, { write }) };
}

test('a webhook gets the record, signed so that a verifier of Standard Webhooks takes it', async (t) => {
  const key = randomBytes(32);
  const server = await hookServer(t, (response, nth) =>
    response.writeHead(nth === 1 ? 503 : 200, { 'retry-after': '0' }).end(),
  );
  const url = new URL(`${server.url}/billing`);
  const hook: Hook = { kind: 'webhook', url, key, on: ['always'], thresholds: [] };
  const { log, told } = warnings();
  const { signal } = new AbortController();
  t.true(await notify(failed, { hooks: [hook], log, signal }));
  t.deepEqual(told, []);
  t.is(server.told.length, 2);
  for (const { body, headers } of server.told) {
    t.is(`${body}\n`, recordLine(failed));
    t.is(headers['webhook-id'], failed.runId, 'the same at every try');
    const verifier = new Webhook(`whsec_${key.toString('base64')}`);
    const given = headers as Record<string, string>;
    t.deepEqual(runRecord.parse(verifier.verify(body, given)), failed);
    t.throws(() => verifier.verify(body.replace('failed', 'ok'), given), { message: /signature/ });
    t.throws(() => new Webhook(randomBytes(32).toString('base64')).verify(body, given));
  }
});

test('all hooks are told side by side; a hanging one of a stopped run is left after three seconds', async (t) => {
  const fine = await hookServer(t);
  const hanging = await hookServer(t, () => undefined);
  const to = (url: string): Hook => ({
    ...{ kind: 'slack', url: new URL(`${url}/services/T0/B0/${'s'.repeat(24)}`), key: undefined },
    ...{ on: ['failure'], thresholds: [] },
  });
  const { log, told } = warnings();
  const stopped = AbortSignal.abort();
  const began = performance.now();
  const hooks = [hanging, hanging, fine].map(({ url }) => to(url));
  t.false(await notify(interrupted, { hooks, log, signal: stopped }));
  t.true(performance.now() - began < 4_500);
  t.is(fine.told.length, 1);
  const host = new URL(hanging.url).host;
  const warning = `slack at ${host} was not told of the run: it did not answer within 3 s`;
  t.deepEqual(told, [warning, warning]);
});
