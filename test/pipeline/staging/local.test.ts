import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import {
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { ConfigurationError } from '../../../pipeline/errors.js';
import { localStaging } from '../../../pipeline/staging/local.js';
import { breaking, bytesAt, keysOf, noise, pieces, stagingContract, textAt } from './contract.js';

stagingContract(test, async (t) => localStaging(await folderFor(t)));

async function folderFor(t: ExecutionContext): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'staging-')));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** How many files below a folder this process holds open. */
function openFiles(folder: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder);
    } catch {
      return false;
    }
  }).length;
}

test('the location is the absolute path, and nothing is made before the first write', async (t) => {
  const folder = join(await folderFor(t), 'not/yet');
  const staging = localStaging(folder);
  t.is(staging.location, folder);
  t.deepEqual(await keysOf(staging, ''), []);
  t.is(await staging.read('a'), undefined);
  await staging.remove('a');
  await t.throwsAsync(readdir(folder), { code: 'ENOENT' });
  await staging.write('a', Buffer.from('1'));
  t.deepEqual((await readdir(folder)).sort(), ['.tmp', 'a']);
  t.deepEqual(await readdir(join(folder, '.tmp')), []);
});

test('what a killed process wrote aside is removed with the next write, and nothing else', async (t) => {
  const folder = await folderFor(t);
  const driver = new URL('../../../pipeline/staging/local.js', import.meta.url).href;
  const script = `
    import { localStaging } from ${JSON.stringify(driver)};
    await localStaging(${JSON.stringify(folder)}).write('file', (async function* () {
      yield Buffer.from('half a file');
      console.log('half');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    })());`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  const aside = join(folder, '.tmp');
  const [living] = await readdir(aside);
  t.truthy(living);
  const staging = localStaging(folder);
  await staging.write('meanwhile', Buffer.from('1'));
  t.deepEqual(await readdir(aside), [living], 'a living process keeps its file');

  child.kill('SIGKILL');
  await once(child, 'exit');
  const elsewhere = join(aside, 'other-machine-1.7.abcdef.1');
  const abandoned = join(aside, 'other-machine-1.7.abcdef.2');
  await writeFile(elsewhere, 'of another machine');
  await writeFile(abandoned, 'of another machine, long ago');
  const dayAgo = Date.now() / 1000 - 25 * 3600;
  await utimes(abandoned, dayAgo, dayAgo);
  await localStaging(folder).write('afterwards', Buffer.from('2'));
  t.deepEqual(await readdir(aside), ['other-machine-1.7.abcdef.1']);
  t.deepEqual(await keysOf(staging, ''), ['afterwards', 'meanwhile']);
});

test('a file is on the disk before its name, and its name before the write is done', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  const synced = await recordSyncs(t, folder);
  await staging.write('a/b/file', Buffer.from('1'));
  const names = synced.map((path) => path.replace(/\.tmp\/.+/, '.tmp/aside'));
  // The folder .tmp's own name, the content, the new folders' names from the inside out, the file's name.
  t.deepEqual(names, ['', '.tmp/aside', 'a', '', 'a/b']);
  synced.length = 0;
  await staging.remove('a/b/file');
  t.deepEqual(synced, ['a/b']);
});

async function recordSyncs(t: ExecutionContext, folder: string): Promise<string[]> {
  const { open } = await import('node:fs/promises');
  const some = await open(folder, 'r');
  const prototype: object = Object.getPrototypeOf(some) as object;
  await some.close();
  const synced: string[] = [];
  const original = Reflect.get(prototype, 'sync') as (this: typeof some) => Promise<void>;
  const recording = function (this: typeof some): Promise<void> {
    const path = readlinkSync(`/proc/self/fd/${this.fd}`);
    if (path.startsWith(folder)) synced.push(path.slice(folder.length + 1));
    return original.call(this);
  };
  Reflect.set(prototype, 'sync', recording);
  t.teardown(() => {
    Reflect.set(prototype, 'sync', original);
  });
  return synced;
}

test('no file stays open, however a read ends', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  await staging.write('folder/file', noise(1_000_000));
  await bytesAt(staging, 'folder/file');
  t.is(await staging.read('folder'), undefined);
  for await (const chunk of (await staging.read('folder/file'))!) {
    t.is(openFiles(folder), 1);
    t.true(chunk.length > 0);
    break;
  }
  const failing = async (): Promise<void> => {
    for await (const chunk of (await staging.read('folder/file', { start: 1, end: 9 }))!) {
      throw new Error(`after ${chunk.length} bytes`);
    }
  };
  await t.throwsAsync(failing(), { message: 'after 8 bytes' });
  const broken = breaking(noise(2_000_000), new Error('the source broke'));
  await t.throwsAsync(staging.write('folder/file', broken), { message: 'the source broke' });
  t.is(openFiles(folder), 0);
});

test('links are followed, as a staging area whose raw folder lies elsewhere needs it', async (t) => {
  const folder = await folderFor(t);
  const elsewhere = await folderFor(t);
  await writeFile(join(elsewhere, 'page'), 'linked');
  await symlink(elsewhere, join(folder, 'raw'));
  await symlink(join(folder, 'nowhere'), join(folder, 'broken'));
  const staging = localStaging(folder);
  t.deepEqual(await keysOf(staging, ''), ['raw/page']);
  t.is(await textAt(staging, 'raw/page'), 'linked');
  await staging.write('raw/new', pieces(Buffer.from('new'), 1));
  t.deepEqual(await readdir(elsewhere), ['new', 'page']);
});

test('a link in a circle ends with an error', async (t) => {
  const folder = await folderFor(t);
  await mkdir(join(folder, 'a'));
  await symlink(folder, join(folder, 'a/again'));
  await t.throwsAsync(keysOf(localStaging(folder), ''), {
    instanceOf: ConfigurationError,
    message: /leads in a circle/,
  });
});

test('a file where a folder belongs, or the reverse, is said', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  await staging.write('file', Buffer.from('x'));
  await staging.write('folder/file', Buffer.from('x'));
  for (const key of ['file/below', 'folder']) {
    const error = await t.throwsAsync(staging.write(key, Buffer.from('y')), {
      instanceOf: ConfigurationError,
      message: /a file stands where a folder belongs/,
    });
    t.true(error.where?.endsWith(key));
    t.regex(error.next ?? '', /--staging/);
  }
  await t.throwsAsync(localStaging(join(folder, 'file')).write('a', Buffer.from('y')), {
    instanceOf: ConfigurationError,
  });
  t.deepEqual(await readdir(join(folder, '.tmp')), []);
});

test('a name that is too long is said', async (t) => {
  const staging = localStaging(await folderFor(t));
  const key = 'x'.repeat(300);
  await t.throwsAsync(staging.write(key, Buffer.from('y')), { instanceOf: ConfigurationError });
  await t.throwsAsync(staging.read(key), { instanceOf: ConfigurationError });
});
