import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from './debian.js';

const run = promisify(execFile);

/**
 * Prometheus' own tool: the machine's, else Debian's, taken out of its package into a folder that later runs find
 * again. The package is never installed, since it would start a server.
 * @throws {Error} when it cannot be had.
 */
export async function providePromtool(): Promise<string> {
  const own = await findProgram('promtool');
  if (own !== undefined) return own;
  const folder = join(tmpdir(), 'pipeline-promtool');
  const found = join(folder, 'usr/bin/promtool');
  const take = `rm -f prometheus_*.deb && apt-get -qq download prometheus`;
  const script = `test -x ${found} || { mkdir -p ${folder} && cd ${folder} && { ${take} || { apt-get -qq update && ${take}; }; } && dpkg-deb -x prometheus_*.deb aside && mv aside/usr . && rm -rf aside prometheus_*.deb; }`;
  // Test files run side by side: none takes what another is still unpacking.
  await run('flock', [join(tmpdir(), 'pipeline-apt.lock'), 'sh', '-c', script]);
  return found;
}
