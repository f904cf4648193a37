import test from 'ava';
import { isGone, self } from '../../../pipeline/staging/holder.js';
import type { FoundLease, LeaseRecord } from '../../../pipeline/staging/lease.js';
import { leaseJudge } from '../../../pipeline/staging/lease.js';

const SECONDS = 60;
const START = Date.UTC(2026, 10, 1);

/** A judge whose two clocks a test moves. */
function watch() {
  let elapsed = 0;
  let wrong = 0;
  const judge = leaseJudge(SECONDS, {
    isGone,
    now: () => START + elapsed + wrong,
    elapsed: () => elapsed,
  });
  return {
    judge,
    pass: (seconds: number) => (elapsed += seconds * 1000),
    jump: (seconds: number) => (wrong += seconds * 1000),
  };
}

/** A lease of another machine that ends so many seconds after the start. */
function lease(ends: number, changes: Partial<LeaseRecord> = {}): FoundLease {
  const record = {
    machine: 'elsewhere-1',
    pid: 7,
    token: 'abc',
    since: new Date(START).toISOString(),
    expires: new Date(START + ends * 1000).toISOString(),
    ...changes,
  };
  return { key: 'leases/7.json', number: 7, text: JSON.stringify(record), lease: record };
}

test('a lease that ends within the next minutes is held', (t) => {
  const { judge, pass } = watch();
  t.is(judge(lease(60)), 'held');
  pass(59);
  t.is(judge(lease(60)), 'held');
});

test('one that has run out is watched for as long as a lease lasts before it is dead', (t) => {
  const { judge, pass } = watch();
  t.is(judge(lease(-3600)), 'doubtful');
  pass(59);
  t.is(judge(lease(-3600)), 'doubtful');
  pass(1);
  t.is(judge(lease(-3600)), 'dead');
});

test('one that is renewed lives, however wrong its clock or ours', (t) => {
  for (const skew of [-86_400, -61, 121, 86_400 * 365 * 70]) {
    const { judge, pass } = watch();
    t.is(judge(lease(skew)), 'doubtful');
    for (let renewals = 1; renewals < 20; renewals += 1) {
      pass(15);
      t.is(judge(lease(skew + 15 * renewals)), 'held', `${skew}`);
    }
    pass(150);
    t.is(judge(lease(skew + 15 * 19)), 'dead', 'no longer renewed');
  }
});

test('one that ends absurdly late, as a wrong clock made it, blocks no longer than any other', (t) => {
  const { judge, pass } = watch();
  t.is(judge(lease(86_400 * 365)), 'doubtful');
  pass(60);
  t.is(judge(lease(86_400 * 365)), 'dead');
});

test('when our clock jumps ahead, a living holder keeps its lease', (t) => {
  const { judge, pass, jump } = watch();
  t.is(judge(lease(60)), 'held');
  jump(3600);
  pass(15);
  t.is(judge(lease(75)), 'held');
  pass(15);
  t.is(judge(lease(90)), 'held');
});

test('a file that cannot be read is watched too: a later version may be renewing it', (t) => {
  const { judge, pass } = watch();
  const unreadable = { key: 'leases/7.json', number: 7, text: '{"v":2', lease: undefined };
  t.is(judge(unreadable), 'doubtful');
  pass(15);
  t.is(judge({ ...unreadable, text: '{"v":2,' }), 'held');
  pass(60);
  t.is(judge({ ...unreadable, text: '{"v":2,' }), 'dead');
});

test('a process of this machine is dead as soon as it is gone', (t) => {
  const { judge } = watch();
  // The largest number that Linux gives is 2^22.
  t.is(judge(lease(60, { machine: self.machine, pid: 2 ** 22 + 1 })), 'dead');
  t.is(judge(lease(60, { machine: self.machine, pid: process.pid })), 'dead', 'another token');
  t.is(judge(lease(60, { ...self })), 'held');
  t.is(judge(lease(60, { machine: self.machine, pid: process.ppid })), 'held');
});
