import { freePort } from '../support/private-server.js';
import { pythonWith } from './python.js';
import { startHttpServer } from './server.js';
import type { Attempt } from './trial.js';

/** Starts moto's server, from PyPI, for the time of a trial; its address. */
export async function startMoto(t: Attempt): Promise<string> {
  const { python, versionOf } = await pythonWith(t.cache, 'moto[server]');
  t.version(`${await versionOf('moto')} from PyPI`);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const words = ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)];
  await startHttpServer(t, [python, ...words], url);
  return url;
}
