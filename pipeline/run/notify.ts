import { createHmac } from 'node:crypto';
import type { Hook } from '../config/hooks.js';
import { hookName } from '../config/hooks.js';
import { TransientError, describeError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import { parseAmount } from '../shared/money.js';
import { reaches } from '../shared/threshold.js';
import { version } from '../shared/version.js';
import { GRACE, graceAfter } from '../shared/waits.js';
import { slackBody, teamsBody } from './notice-texts.js';
import { post } from './post.js';
import type { RunRecord } from './record.js';
import { recordLine } from './record.js';

/** Milliseconds in which all hooks are told, side by side; after Ctrl-C it is {@link GRACE}. */
const LONGEST = 10_000;

/**
 * Tells everybody who wants to be told of such a run. Nothing that a hook does or does not do fails a run: one that was
 * not told is a warning.
 * @returns whether all were told.
 */
export async function notify(
  record: RunRecord,
  { hooks, log, signal }: { hooks: readonly Hook[]; log: Log; signal: AbortSignal },
): Promise<boolean> {
  const limit = limitOf(signal);
  const due = hooks.filter((hook) => isDue(hook, record));
  const told = due.map(async (hook) => {
    try {
      await tell(hook, record, limit);
      log.info({ hook: hookName(hook) }, 'told of the run');
      return true;
    } catch (error) {
      log.warn(`${hookName(hook)} was not told of the run: ${describeError(error)}`);
      return false;
    }
  });
  return (await Promise.all(told)).every((isTold) => isTold);
}

/** Whether a hook is to be told of such a run. */
export function isDue(hook: Pick<Hook, 'on' | 'thresholds'>, record: RunRecord): boolean {
  const happened = {
    'always': true,
    'failure': record.outcome !== 'ok',
    'restated': restatedFor(hook, record).length > 0,
    'provisional-final': record.finalized.length > 0,
  };
  return hook.on.some((occasion) => happened[occasion]);
}

/** What was restated, as far as it reaches the hook's thresholds. Without one, any amount that differs is told. */
function restatedFor(
  { thresholds }: Pick<Hook, 'thresholds'>,
  { restated }: RunRecord,
): RunRecord['restated'] {
  if (thresholds.length === 0) return restated;
  const units = (text: string | undefined) =>
    text === undefined ? undefined : parseAmount(text).units;
  return restated.filter(({ before, after }) =>
    [...new Set([...Object.keys(before), ...Object.keys(after)])].some((currency) => {
      const movement = { before: units(before[currency]), after: units(after[currency]), currency };
      return reaches(movement, thresholds);
    }),
  );
}

async function tell(hook: Hook, record: RunRecord, signal: AbortSignal): Promise<void> {
  const body = bodyFor(hook, record);
  await post(hook.url, {
    body,
    headers: () => ({
      'content-type': 'application/json; charset=utf-8',
      'user-agent': `aws-billing-pipeline/${version}`,
      ...(hook.key === undefined ? {} : signatureOf(hook.key, record.runId, body)),
    }),
    timeoutMs: LONGEST,
    signal,
  });
}

function bodyFor(hook: Hook, record: RunRecord): string {
  if (hook.kind === 'webhook') return recordLine(record).trimEnd();
  const restated = restatedFor(hook, record);
  return hook.kind === 'slack' ? slackBody(record, restated) : teamsBody(record, restated);
}

/**
 * The headers that prove who posts, and when (Standard Webhooks 1.0.0, "Signature scheme", "Webhook headers"). The id is
 * the run's, the same at every try, so that whoever is told twice can tell.
 */
export function signatureOf(
  key: Buffer,
  id: string,
  body: string,
  now = new Date(),
): Record<string, string> {
  const timestamp = String(Math.floor(now.getTime() / 1000));
  const digest = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${digest}`,
  };
}

/** A signal that is given when the time is over. */
function limitOf(signal: AbortSignal): AbortSignal {
  const limit = new AbortController();
  const end = (milliseconds: number) => () => {
    limit.abort(new TransientError(`it did not answer within ${milliseconds / 1000} s`));
  };
  // A request that is under way keeps the process; nothing else waits for the end of the time.
  setTimeout(end(LONGEST), LONGEST).unref();
  graceAfter(signal).addEventListener('abort', end(GRACE), { once: true });
  return limit.signal;
}
