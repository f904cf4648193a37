import { existsSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import * as nodeModule from 'node:module';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
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

/** Tells the first file of each package that is loaded by `require`. */
const TELLS = `
const { _extensions } = require('node:module');
const load = _extensions['.js'];
const told = new Set();
_extensions['.js'] = (module, file) => {
  const [, name] = /node_modules\\/(node-vault|@aws-sdk)\\//.exec(file) ?? [];
  if (name !== undefined && !told.has(name)) process.stderr.write('loads ' + name + '\\n');
  told.add(name);
  return load(module, file);
};
`;

test("Vault's client is loaded before those of AWS, which load while it answers", async (t) => {
  const cwd = await temporaryFolder(t);
  const cloud = await startCloud({ data: demoData({ months: [parseMonth('2026-10')] }) });
  t.teardown(() => cloud.close());
  const hook = join(cwd, 'tells.cjs');
  await writeFile(hook, TELLS);
  const { code, stderr } = await pipeline(['run', '--month', '2026-10', '--stage', 'extract'], {
    cwd,
    env: { ...cloud.environment, NODE_OPTIONS: `--require ${hook}` },
  });
  t.is(code, 0);
  t.deepEqual(stderr.match(/(?<=^loads ).*$/gm), ['node-vault', '@aws-sdk']);
});
