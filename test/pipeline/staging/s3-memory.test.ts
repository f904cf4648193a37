import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { startS3 } from '../../../fixtures/cloud/s3.js';

const MIB = 1024 * 1024;

test('a long file goes up and comes down in memory that does not grow with it', async (t) => {
  const server = await startS3({ buckets: ['memory'] });
  t.teardown(() => server.close());
  const driver = new URL('../../../pipeline/staging/s3.js', import.meta.url).href;
  // A process of its own, which reports the peak of its memory before and after, in bytes.
  const script = `
    import { s3Staging } from ${JSON.stringify(driver)};
    const staging = s3Staging('memory', '');
    const peak = () => process.resourceUsage().maxRSS * 1024;
    async function* content(pieces) {
      for (let piece = 0; piece < pieces; piece += 1) yield Buffer.alloc(${MIB}, piece % 251);
    }
    await staging.write('short', content(40));
    const before = peak();
    await staging.write('long', content(320));
    let read = 0;
    for await (const chunk of await staging.read('long')) read += chunk.length;
    console.log(JSON.stringify({ grown: peak() - before, read }));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...server.environment },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  const { grown, read } = JSON.parse(output) as { grown: number; read: number };
  t.log(`${Math.round(grown / MIB)} MiB more at the peak`);
  t.is(read, 320 * MIB);
  t.true(grown < 160 * MIB);
  t.is(server.requests.filter(({ operation }) => operation === 'UploadPart').length, 5 + 40);
});
