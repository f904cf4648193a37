import { execFile } from 'node:child_process';
import { access, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { NotRun } from './trial.js';

const run = promisify(execFile);

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const triplets: Readonly<Record<string, string>> = {
  x64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
};

/** Debian packages, unpacked: nothing of it is installed, and nothing of the machine's own packages is touched. */
export interface Unpacked {
  /** Its `usr`. */
  usr: string;
  /** The words that start a program of it, with the libraries and the loader that came with it. */
  command: (program: string) => string[];
}

/**
 * Unpacks packages of Debian unstable with all that they depend on, below `cache`, by an apt of its own: no root, no
 * chroot. They stay there until Debian has others.
 * @throws {NotRun} where this machine has no apt, or cannot reach Debian's mirror.
 */
export async function unpackUnstable(cache: string, name: string): Promise<Unpacked> {
  const triplet = triplets[process.arch];
  if (triplet === undefined) throw new NotRun(`Debian's ${process.arch} is not known here`);
  for (const file of ['/usr/bin/apt-get', '/usr/bin/dpkg-deb', KEYRING])
    await access(file).catch(() => {
      throw new NotRun(`it comes as a package of Debian, and this machine has no ${file}`);
    });
  const place = join(cache, name);
  const [apt, root] = [join(place, 'apt'), join(place, 'root')];
  await mkdir(join(apt, 'lists/partial'), { recursive: true });
  await mkdir(join(apt, 'archives/partial'), { recursive: true });
  await writeFile(join(apt, 'status'), '');
  await writeFile(
    join(apt, 'sources.list'),
    `deb [signed-by=${KEYRING}] ${await mirror()} unstable main\n`,
  );
  const options = {
    'Dir::State': apt,
    'Dir::State::status': join(apt, 'status'),
    'Dir::Cache': apt,
    'Dir::Etc::SourceList': join(apt, 'sources.list'),
    'Dir::Etc::SourceParts': '-',
    'Dir::Etc::Preferences': '-',
    'Dir::Etc::PreferencesParts': '-',
    'APT::Install-Recommends': 'false',
    // A mirror that stands still for weeks is as good here; what it has is still signed.
    'Acquire::Check-Valid-Until': 'false',
    'Acquire::Languages': 'none',
  };
  const words = Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  const aptGet = async (...args: string[]): Promise<string> =>
    (await run('apt-get', [...words, '-q', ...args], { maxBuffer: 1 << 26 })).stdout;
  const planned = async (): Promise<string> =>
    (await aptGet('install', '-s', name))
      .split('\n')
      .filter((line) => line.startsWith('Inst '))
      .sort()
      .join('\n');
  try {
    await aptGet('update', '-o', 'APT::Update::Error-Mode=any');
  } catch (error) {
    throw new NotRun(`Debian's mirror cannot be reached (${firstLine(error)})`);
  }
  const packages = await planned();
  const stamp = join(place, 'unpacked');
  if ((await readFile(stamp, 'utf8').catch(() => '')) !== packages) {
    await rm(stamp, { force: true });
    await rm(root, { recursive: true, force: true });
    await aptGet('install', '-y', '--download-only', name);
    const archives = join(apt, 'archives');
    for (const file of await readdir(archives))
      if (file.endsWith('.deb')) {
        await run('dpkg-deb', ['-x', join(archives, file), root]);
        await rm(join(archives, file));
      }
    await writeFile(stamp, packages);
  }
  const usr = join(root, 'usr');
  const libraries = join(usr, 'lib', triplet);
  const loader = (await readdir(libraries)).find((file) => file.startsWith('ld-linux'));
  if (loader === undefined) throw new Error(`${libraries} has no loader`);
  return {
    usr,
    command: (program) => [
      join(libraries, loader),
      '--library-path',
      libraries,
      join(usr, program),
    ],
  };
}

/** The mirror that this machine takes its Debian from, else Debian's own. */
async function mirror(): Promise<string> {
  const asked = ['indextargets', '--format', '$(REPO_URI)', 'Origin: Debian', 'Component: main'];
  const { stdout } = await run('apt-get', asked).catch(() => ({ stdout: '' }));
  const known = stdout.split('\n').find((uri) => /\/debian\/?$/.test(uri));
  return known ?? 'http://deb.debian.org/debian';
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error))
    .split('\n')
    .find((line) => /^[EW]:/.test(line)) ?? 'apt-get update failed';
