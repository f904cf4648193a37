import { execFile } from 'node:child_process';
import { statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from './cli.js';
import { refuseWrites } from './refuse-writes.js';

const run = promisify(execFile);

/** A disk that can be filled up. */
export interface SmallDisk {
  folder: string;
  /** Leaves so many bytes free, and tells with what environment a command meets that. */
  fill(left: number): Promise<Record<string, string>>;
  /** Makes room again. */
  clear(): Promise<void>;
}

/**
 * A disk of 8 MiB where this user may mount one; elsewhere a plain folder, and commands in which
 * writes fail as on a full disk.
 */
export async function smallDisk(t: Parameters<typeof temporaryFolder>[0]): Promise<SmallDisk> {
  const folder = await temporaryFolder(t);
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'billing-test', folder]).then(
    () => true,
    () => false,
  );
  if (!mounted) {
    return {
      folder,
      fill: (left) => Promise.resolve(refuseWrites(left)),
      clear: () => Promise.resolve(),
    };
  }
  t.teardown(async () => {
    // Lazily, since a database that was read may not be collected yet.
    await run('umount', ['--lazy', folder]);
  });
  const filler = join(folder, 'filler');
  return {
    folder,
    async fill(left) {
      const { bavail, bsize } = await statfs(folder);
      await writeFile(filler, Buffer.alloc(Math.max(0, bavail * bsize - left)));
      return {};
    },
    clear: () => truncate(filler, 0),
  };
}
