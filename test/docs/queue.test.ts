import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { pipeline, root, temporaryFolder } from '../support/cli.js';
import { hookServer } from '../support/hook-server.js';
import { endProcess, freePort } from '../support/private-server.js';
import { provideRedis } from '../support/redis.js';
import { startWorker } from '../support/queue.js';

/** The terminals of docs/several-machines.md, each command as it stands there, on a port of its own. */

const text = await readFile(join(root, 'docs/several-machines.md'), 'utf8');
const [, section = ''] = /^## The queue$([^]*?)(?:^## |$(?![^]))/m.exec(text) ?? [];
const typed = [...section.matchAll(/^```console\n([^]*?)^```$/gm)].flatMap(([, block = '']) =>
  [...block.matchAll(/^\$ (.+)$/gm)].map(([, line = '']) => line),
);

/** The words of the one command that begins so, after that. */
function wordsOf(beginning: string, address: string): string[] {
  const found = typed.filter((line) => line.startsWith(beginning));
  if (found.length !== 1) throw new Error(`${found.length} commands begin with "${beginning}"`);
  const [line = ''] = found;
  return line
    .slice(beginning.length)
    .replace('redis://127.0.0.1:6379/0', address)
    .trim()
    .split(' ');
}

test('redis, two workers and a run do the demo months, although one worker is killed', async (t) => {
  const folder = await temporaryFolder(t);
  const data = demoData({ months: ['2026-09', '2026-10'].map(parseMonth) });
  let asked = 0;
  let strike = (): void => undefined;
  const cloud = await startCloud({
    data,
    latencyMs: 20,
    onRequest: () => {
      asked += 1;
      if (asked === 25) strike();
    },
  });
  t.teardown(() => cloud.close());
  const port = await freePort();
  const address = `redis://127.0.0.1:${port}/0`;

  const kept = await mkdtemp(join(tmpdir(), 'pipeline-redis-'));
  const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', kept];
  const redis = spawn(await provideRedis(), [...wordsOf('redis-server ', address), ...own], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(async () => {
    await endProcess(redis);
    await rm(kept, { recursive: true, force: true });
  });
  for await (const line of createInterface(redis.stdout)) if (/Ready to accept/.test(line)) break;
  redis.stdout.resume();

  const slack = await hookServer(t);
  const notify = [{ slack: slack.url, on: 'always' }];
  await writeFile(join(folder, 'pipeline.config.yaml'), JSON.stringify({ notify }));
  const args = wordsOf('npx pipeline worker ', address);
  const settings = { cwd: folder, env: cloud.environment };
  const workers = [1, 2].map(() => startWorker(t, { args, ...settings }));
  await Promise.all(workers.map(({ ready }) => ready));
  strike = () => {
    workers[0]?.signalAll('SIGKILL');
  };
  const said = async (command: string): Promise<string> => {
    const words = wordsOf(`npx pipeline ${command} `, address);
    const { code, stdout, stderr } = await pipeline([command, ...words], settings);
    t.is(code, 0, stdout + stderr);
    return stdout;
  };
  t.regex(await said('check'), /^ok +queue persistence/m);
  const summary = await said('run');
  t.is(slack.told.length, 1, 'whoever follows the run tells of it, and no worker');
  t.false(workers[0]?.isRunning());
  t.true(workers[1]?.isRunning());
  t.regex(summary, /^24 done; /m, summary);
  t.is(summary.match(/^20\d\d-\d\d .* done +done +done /gm)?.length, 8);
  t.regex(await said('status'), /./);
});
