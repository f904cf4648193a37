import { Writable } from 'node:stream';
import test from 'ava';
import { createProgress, noProgress } from '../../../pipeline/run/progress.js';
import { tell } from '../../../pipeline/shared/output.js';

/** A terminal that keeps what is written to it, and a clock that is set. */
async function terminal() {
  const writes: string[] = [];
  const waiting: { pattern: RegExp; found: () => void }[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      writes.push(chunk.toString());
      for (const { pattern, found } of waiting) if (pattern.test(chunk.toString())) found();
      done();
    },
  });
  const clock = { now: 0 };
  const progress = await createProgress(
    Object.assign(stream, { isTTY: true, rows: 24, columns: 100 }) as unknown as NodeJS.WriteStream,
    () => clock.now,
  );
  /** What is written when the lines are drawn the next time with a text. */
  const drawn = (pattern: RegExp): Promise<void> =>
    new Promise((found) => {
      waiting.push({ pattern, found });
    });
  // Nothing else holds the process until the next drawing.
  const alive = setInterval(() => undefined, 1000);
  const stop = (): void => {
    clearInterval(alive);
    progress.stop();
  };
  return { progress, clock, writes, drawn, stop };
}

test.serial(
  'a line moves through the stages, with a bar and the time left where the work is long',
  async (t) => {
    const { progress, clock, drawn, writes, stop } = await terminal();
    progress.show('2026-10  oab', 'extract', 'page 3, 40 groups');
    await drawn(/2026-10 {2}oab {2}extract {4}page 3, 40 groups/);
    progress.show('2026-10  oab', 'load', '10 of 40 rows', 0.25);
    await drawn(/2026-10 {2}oab {2}load {7}10 of 40 rows/);
    clock.now += 30_000;
    progress.show('2026-10  oab', 'load', '20 of 40 rows', 0.5);
    await drawn(/load {7}█████░░░░░ {2}20 of 40 rows, 30 s left/);
    progress.end('2026-10  oab', 'extract done, load done');
    tell('a \u001b[2Jwarning');
    stop();
    const text = writes.join('');
    t.regex(text, /2026-10 {2}oab {2}extract done, load done\n/);
    t.regex(text, /a \\u001b\[2Jwarning\n/);
    // Nothing is left of the lines that were redrawn.
    t.notRegex(writes.at(-1) ?? '', /rows/);
  },
);

test.serial('a line is gone as long as nothing is done of it', async (t) => {
  const { progress, drawn, writes, stop } = await terminal();
  progress.show('2026-10  oab', 'load', '40 of 40 rows');
  await drawn(/oab {2}load/);
  progress.rest('2026-10  oab');
  progress.show('2026-10  spp', 'extract', 'page 1');
  const before = writes.length;
  await drawn(/spp {2}extract/);
  t.notRegex(writes.slice(before).join(''), /oab/);
  progress.show('2026-10  oab', 'transform', '5 rows');
  await drawn(/oab {2}transform/);
  stop();
});

test.serial('the run has a line of its own as soon as it is long', async (t) => {
  const { progress, clock, drawn, stop } = await terminal();
  progress.whole('0 of 40 months and organizations', 0);
  clock.now += 600_000;
  progress.whole('4 of 40 months and organizations, $0.12', 0.1);
  await drawn(/█░{9} {2}4 of 40 months and organizations, \$0\.12, 2 h left/);
  clock.now += 60_000;
  progress.whole('36 of 40 months and organizations, $1.12', 0.9);
  await drawn(/█{9}░ {2}36 of 40 months and organizations, \$1\.12, 74 s left/);
  stop();
  t.pass();
});

test('whoever does not want to know is not told', (t) => {
  noProgress.note('2026-10  oab', 'waiting');
  t.is(Object.keys(noProgress).length, 6);
});
