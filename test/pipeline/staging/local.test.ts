import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ConfigurationError, TransientError } from '../../../pipeline/shared/errors.js';
import { localStaging } from '../../../pipeline/staging/local.js';
import type { ContractContext } from './contract.js';
import { breaking, bytesAt, keysOf, noise, stagingContract, textAt } from './contract.js';

stagingContract(test, async (t) => localStaging(await folderFor(t)));

async function folderFor(t: Pick<ContractContext, 'teardown'>): Promise<string> {
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
  // The folder .tmp's own name, the content, the new folders' names from the outside in, the file's name.
  t.deepEqual(names, ['', '.tmp/aside', '', 'a', 'a/b']);
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
    for await (const chunk of (await staging.read('folder/file'))!) {
      throw new Error(`after ${chunk.length} bytes`);
    }
  };
  await t.throwsAsync(failing(), { message: 'after 262144 bytes' });
  const broken = breaking(noise(2_000_000), new Error('the source broke'));
  await t.throwsAsync(staging.write('folder/file', broken), { message: 'the source broke' });
  t.is(openFiles(folder), 0);
});

test('a file that others make longer or shorter while it is read ends well, or throws', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  const readWhile = async (meanwhile: (path: string) => Promise<void>): Promise<number[]> => {
    await staging.write('file', noise(600_000));
    const lengths: number[] = [];
    for await (const { length } of (await staging.read('file'))!)
      if (lengths.push(length) === 1) await meanwhile(join(folder, 'file'));
    return lengths;
  };
  const grown = await readWhile((path) => appendFile(path, noise(3_000_000)));
  t.is(
    grown.reduce((all, length) => all + length, 0),
    3_600_000,
  );
  t.true(grown.length < 20, `${grown.length} pieces`);
  await t.throwsAsync(
    readWhile((path) => truncate(path, 300_000)),
    { instanceOf: TransientError, message: 'the file became shorter while it was read' },
  );
  t.is(openFiles(folder), 0);
});

test('a listing of names alone has the same files, and refuses the same', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  const names = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const { key } of staging.list('', { sizes: false })) found.push(key);
    return found;
  };
  for (const key of ['a/b/c', 'a/b.c', 'ab', 'b/\uFFFD']) await staging.write(key, noise(3));
  const foreign = Buffer.concat([Buffer.from(`${folder}/b/`), Buffer.from([0xff, 0xfe])]);
  await writeFile(foreign, 'no UTF-8');
  await writeFile(join(folder, 'b/back\\slash'), 'no key');
  const expected = ['a/b.c', 'a/b/c', 'ab', 'b/\uFFFD'];
  t.deepEqual(await keysOf(staging, ''), expected);
  t.deepEqual(await names(), expected);
  await symlink(folder, join(folder, 'a/b/link'));
  await t.throwsAsync(keysOf(staging, ''), { instanceOf: ConfigurationError });
  await t.throwsAsync(names(), { instanceOf: ConfigurationError });
});

test('the staging area itself may be reached by a link, a folder or file in it may not', async (t) => {
  const [folder, elsewhere] = [await folderFor(t), await folderFor(t)];
  const link = join(elsewhere, 'staging');
  await symlink(folder, link);
  const staging = localStaging(link);
  await staging.write('raw/page', Buffer.from('real'));
  t.is(await textAt(staging, 'raw/page'), 'real');
  t.deepEqual(await keysOf(staging, ''), ['raw/page']);

  await mkdir(join(elsewhere, 'moved'));
  await writeFile(join(elsewhere, 'moved/page'), 'linked');
  await symlink(join(elsewhere, 'moved'), join(folder, 'linked'));
  await symlink(folder, join(folder, 'raw/circle'));
  await symlink(join(folder, 'raw/page'), join(folder, 'raw/file-link'));
  await symlink(join(folder, 'nowhere'), join(folder, 'dangling'));
  const refused = async (where: string, work: Promise<unknown>): Promise<void> => {
    const error = await t.throwsAsync(work, {
      instanceOf: ConfigurationError,
      message: /^a link /,
    });
    t.is(error.where, join(link, where));
  };
  for (const [where, key] of [
    ['linked', 'linked/page'],
    ['linked', 'linked/page/deeper'],
    ['raw/circle', 'raw/circle/raw/page'],
    ['dangling', 'dangling/page'],
  ] as const) {
    await refused(where, bytesAt(staging, key));
    await refused(where, staging.write(key, Buffer.from('x')));
    await refused(where, staging.remove(key));
    await refused(where, keysOf(staging, `${where}/`));
  }
  await refused('raw/file-link', bytesAt(staging, 'raw/file-link'));
  await refused('raw/file-link', staging.remove('raw/file-link'));
  await t.throwsAsync(keysOf(staging, ''), { message: /^a link / });
  t.deepEqual(await readdir(join(elsewhere, 'moved')), ['page']);
  // What is written takes a link's place: the link's target stays as it is.
  await staging.write('raw/file-link', Buffer.from('own'));
  t.is(await textAt(staging, 'raw/page'), 'real');
  t.is(await textAt(staging, 'raw/file-link'), 'own');
});

test('a FIFO, a socket or a device where a file belongs is named, and nobody waits for it', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  await staging.write('raw/page', Buffer.from('x'));
  execFileSync('mkfifo', [join(folder, 'raw/fifo')]);
  const server = createServer().listen(join(folder, 'raw/socket'));
  await once(server, 'listening');
  t.teardown(() => server.close());
  const kinds = [
    ['raw/fifo', /^a FIFO /],
    ['raw/socket', /^a socket /],
  ] as const;
  for (const [key, message] of kinds) {
    const expected = { instanceOf: ConfigurationError, message };
    const error = await t.throwsAsync(bytesAt(staging, key), expected);
    t.is(error.where, join(folder, key));
    await t.throwsAsync(keysOf(staging, key), expected);
    await t.throwsAsync(staging.remove(key), expected);
  }
  await t.throwsAsync(keysOf(staging, 'raw/'), { message: /^a (FIFO|socket) / });
  t.deepEqual(await keysOf(staging, 'raw/p'), ['raw/page'], 'what is beside it is still found');
  const dev = localStaging('/dev');
  await t.throwsAsync(bytesAt(dev, 'zero'), { message: /^a device / });
});

test('a device that takes the place of a file between the look and the opening is not read', async (t) => {
  const folder = await folderFor(t);
  const [path, fifo] = [join(folder, 'page'), join(folder, 'fifo')];
  execFileSync('mkfifo', [fifo]);
  // Two names that change places over and over, while the file is opened over and over.
  await writeFile(path, 'x');
  const script = `const { renameSync, linkSync, writeFileSync } = require('node:fs');
    const [path, fifo] = ${JSON.stringify([path, fifo])};
    writeFileSync(path + '.file', 'x');
    for (;;) {
      for (const from of [fifo, path + '.file']) {
        try { linkSync(from, path + '.new'); renameSync(path + '.new', path); } catch (e) { process.exit(); }
      }
    }`;
  const swapper = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  const gone = once(swapper, 'exit');
  const staging = localStaging(folder);
  const seen = { file: 0, fifo: 0 };
  while (seen.file < 200 || seen.fifo < 200) {
    try {
      t.is(await textAt(staging, 'page'), 'x');
      seen.file += 1;
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      seen.fifo += 1;
    }
  }
  swapper.kill('SIGKILL');
  await gone;
  t.true(seen.file >= 200 && seen.fifo >= 200);
});

test('where the system makes no folder, that is said', async (t) => {
  const error = await t.throwsAsync(localStaging('/proc/x/y').write('a', Buffer.from('1')), {
    instanceOf: ConfigurationError,
    message: /no folder can be made there.*ENOENT/,
  });
  t.true(error.where?.startsWith('/proc/x/y'));
});

test('old files are removed from .tmp only where their names are our own', async (t) => {
  const folder = await folderFor(t);
  const elsewhere = await folderFor(t);
  const long = new Date(Date.now() - 3 * 86_400_000);
  const ours = 'other-machine.77.0123456789ab.1';
  await mkdir(join(folder, '.tmp', 'other-machine.77.0123456789ab.2'), { recursive: true });
  for (const name of [ours, 'notes.txt', 'a.1.b', 'x.1.2.3.4']) {
    await writeFile(join(folder, '.tmp', name), 'old');
    await utimes(join(folder, '.tmp', name), long, long);
  }
  await localStaging(folder).write('a', Buffer.from('1'));
  t.deepEqual((await readdir(join(folder, '.tmp'))).sort(), [
    'a.1.b',
    'notes.txt',
    'other-machine.77.0123456789ab.2',
    'x.1.2.3.4',
  ]);

  await writeFile(join(elsewhere, ours), 'old');
  await utimes(join(elsewhere, ours), long, long);
  const linked = await folderFor(t);
  await symlink(elsewhere, join(linked, '.tmp'));
  const error = await t.throwsAsync(localStaging(linked).write('a', Buffer.from('1')), {
    instanceOf: ConfigurationError,
    message: /^a link stands where a folder/,
  });
  t.is(error.where, join(linked, '.tmp'));
  t.deepEqual(await readdir(elsewhere), [ours]);
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
