import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseMonth } from '../../pipeline/shared/month.js';
import { takeLease } from '../../pipeline/staging/lease.js';
import { openStaging, parseStagingLocation } from '../../pipeline/staging/open.js';

/**
 * A process that takes the lease on October of `oab` again and again, and says when it has it and when
 * it gives it back: `took` and `gave`, a line each, on standard output. A line on its standard input ends
 * the holding. Arguments: the staging area,
 * turns, milliseconds to hold, seconds to wait, length of a lease in seconds.
 */
const [area = '', turns = '1', hold = '0', wait = '0', seconds = '60'] = process.argv.slice(2);
const staging = await openStaging(parseStagingLocation(area));
const slice = { month: parseMonth('2026-10'), organization: 'oab' };

const enough = once(process.stdin, 'data');

for (let turn = 0; turn < Number(turns); turn += 1) {
  const lease = await takeLease(staging, slice, {
    waitSeconds: Number(wait),
    signal: new AbortController().signal,
    seconds: Number(seconds),
  });
  lease.lost.addEventListener('abort', () => {
    process.stdout.write(`lost ${String(lease.lost.reason)}\n`);
  });
  // Whoever else is inside writes a mark too: two marks at once are two holders at once.
  const mark = `inside/${process.pid}`;
  await staging.write(mark, Buffer.from(String(turn)));
  process.stdout.write('took\n');
  await Promise.race([sleep(Number(hold), undefined, { ref: false }), enough]);
  const inside: string[] = [];
  for await (const { key } of staging.list('inside/')) inside.push(key);
  if (inside.length !== 1) process.stdout.write(`together ${inside.join(' ')}\n`);
  await staging.remove(mark);
  await lease.release();
  process.stdout.write('gave\n');
}
process.stdin.destroy();
