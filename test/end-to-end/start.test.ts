import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import * as nodeModule from 'node:module';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { pipeline, temporaryFolder } from '../support/cli.js';

test('what Node compiled is kept in the own folder of the user, whatever HOME says, where Node can do so', async (t) => {
  const folder = join(userInfo().homedir, '.cache', 'aws-billing-pipeline', 'node');
  const ofThisNode = async (): Promise<string[]> =>
    existsSync(folder)
      ? (await readdir(folder)).filter((name) => name.startsWith(`${process.version}-`))
      : [];
  for (const name of await ofThisNode()) await rm(join(folder, name), { recursive: true });
  const cwd = await temporaryFolder(t);
  const { code, stderr } = await pipeline(['--version'], { cwd, env: { HOME: cwd } });
  t.is(code, 0);
  t.is(stderr, '');
  t.is((await ofThisNode()).length, 'enableCompileCache' in nodeModule ? 1 : 0);
  t.deepEqual(await readdir(cwd), []);
});
