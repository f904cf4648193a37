import { spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { chmod, mkdir, mkdtemp, open, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ConfigurationError, TransientError } from '../../../pipeline/shared/errors.js';
import { localStaging } from '../../../pipeline/staging/local.js';
import { openWriter } from '../../../pipeline/staging/staging.js';
import { bytesAt, keysOf, listed, noise, pieces, same, textAt } from './contract.js';

// These tests change what the whole process may do, one after the other, in a process of their own.

async function folderFor(t: ExecutionContext): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'staging-')));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Acts as a user who owns none of the files: root has every right. */
async function withoutRights(action: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    await action();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

/** Makes an operation on every open file fail as the system would, after so many calls; the result mends it. */
async function failing(
  t: ExecutionContext,
  method: 'read' | 'writeFile' | 'sync',
  code: string,
  after = 0,
): Promise<() => void> {
  const some = await open(tmpdir(), 'r');
  const prototype = Object.getPrototypeOf(some) as FileHandle;
  await some.close();
  const original = Reflect.get(prototype, method) as (...given: unknown[]) => Promise<unknown>;
  let calls = 0;
  const replacement = function (this: FileHandle, ...given: unknown[]): Promise<unknown> {
    calls += 1;
    return calls > after
      ? Promise.reject(Object.assign(new Error(`${code}: made up`), { code, syscall: method }))
      : original.apply(this, given);
  };
  Reflect.set(prototype, method, replacement);
  const mend = (): void => {
    Reflect.set(prototype, method, original);
  };
  t.teardown(mend);
  return mend;
}

test.serial('a folder without the right to write, and one without the right to read', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  await staging.write('closed/file', Buffer.from('x'));
  await chmod(folder, 0o555);
  await chmod(join(folder, '.tmp'), 0o555);
  await chmod(join(folder, 'closed'), 0);
  t.teardown(() => chmod(join(folder, 'closed'), 0o755));
  await withoutRights(async () => {
    const attempts = [
      () => staging.write('new', Buffer.from('y')),
      () => staging.read('closed/file'),
      () => staging.remove('closed/file'),
      () => listed(staging, ''),
    ];
    for (const attempt of attempts) {
      const error = await t.throwsAsync(attempt(), {
        instanceOf: ConfigurationError,
        message: /^no right to (write|read|remove|list) the file \(EACCES\)$/,
      });
      t.true(error.where?.startsWith(folder));
      t.regex(error.next ?? '', /give this user the right/);
    }
  });
  await chmod(join(folder, 'closed'), 0o755);
  t.is(await textAt(staging, 'closed/file'), 'x');
});

test.serial('a full disk is said, nothing is left behind, and with room it goes on', async (t) => {
  const folder = await folderFor(t);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
  const isSmall = mounted.status === 0;
  if (isSmall) t.teardown(() => spawnSync('umount', [folder]));
  t.log(isSmall ? 'on a tmpfs of 1 MiB' : 'on files that refuse to grow');
  const staging = localStaging(folder);
  await staging.write('old', Buffer.from('old'));
  const large = noise(3_000_000);

  for (const write of [
    () => staging.write('old', large),
    () => staging.write('new', pieces(large, 100_000)),
    async () => {
      const writer = openWriter(staging, 'new');
      for await (const piece of pieces(large, 100_000)) await writer.write(piece);
      await writer.close();
    },
  ]) {
    const mend = isSmall ? undefined : await failing(t, 'writeFile', 'ENOSPC');
    const error = await t.throwsAsync(write(), {
      instanceOf: TransientError,
      message: 'the disk is full (ENOSPC)',
    });
    t.regex(error.next ?? '', /make room/);
    mend?.();
    t.deepEqual(await readdir(join(folder, '.tmp')), []);
    t.deepEqual(await listed(staging, ''), [{ key: 'old', size: 3 }]);
  }
  t.is(await textAt(staging, 'old'), 'old');
  const fits = noise(300_000);
  await staging.write('new', fits);
  t.true(same(await bytesAt(staging, 'new'), fits));
});

test.serial('a disk that cannot be forced to keep the bytes is no success', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  await staging.write('first', Buffer.from('1'));
  await failing(t, 'sync', 'EIO');
  await t.throwsAsync(staging.write('file', Buffer.from('x')), {
    instanceOf: TransientError,
    message: 'could not write the file (EIO)',
  });
  t.is(await staging.read('file'), undefined);
  t.deepEqual(await readdir(join(folder, '.tmp')), []);
});

test.serial('a file that breaks in mid read throws and is closed', async (t) => {
  const folder = await folderFor(t);
  const staging = localStaging(folder);
  await staging.write('file', noise(1_000_000));
  await failing(t, 'read', 'EIO', 2);
  const error = await t.throwsAsync(bytesAt(staging, 'file'), {
    instanceOf: TransientError,
    message: 'could not read the file (EIO)',
  });
  t.is(error.where, join(folder, 'file'));
  const open = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  t.false(open.includes(join(folder, 'file')));
});

test.serial('a folder on another disk than .tmp is said', async (t) => {
  const folder = await folderFor(t);
  const other = join(folder, 'raw');
  await mkdir(other);
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'billing-test', other]);
  const staging = localStaging(folder);
  if (mount.status === 0) {
    t.teardown(() => void spawnSync('umount', ['--lazy', other]));
    await t.throwsAsync(staging.write('raw/file', Buffer.from('x')), {
      instanceOf: ConfigurationError,
      message: /lies on another disk/,
    });
    t.deepEqual(await readdir(other), []);
    t.deepEqual(await keysOf(staging, 'raw/'), []);
  } else {
    // Without the right to mount, only the same disk can be shown.
    t.true(await staging.write('raw/file', Buffer.from('x')));
  }
  t.deepEqual(await readdir(join(folder, '.tmp')), []);
});
