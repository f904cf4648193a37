import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { openOrganization } from '../../extract/organization-source.js';
import { demoData, organizationData } from '../../fixtures/demo/data.js';
import { databaseError } from '../../load/database-errors.js';
import { resolveConfig } from '../../pipeline/config/config.js';
import { describeError } from '../../pipeline/shared/errors.js';
import type { Finished } from '../support/cli.js';
import { memoryLog, setEnvironment } from '../support/extract.js';
import { month, world } from '../support/world.js';

/** What clears a screen, sets a title, does so in C1, and turns the order of the letters about. */
const ATTACK = '\u001b[2J\u001b]0;title\u0007\u009b31m\u202e\u0000\u007f';

/** Nothing that a terminal obeys but the end of a line. */
// eslint-disable-next-line no-control-regex -- that is what it looks for
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

/** A server whose answers tell what it was sent. */
async function echo(
  t: ExecutionContext,
  answer: (sent: string, request: IncomingMessage) => { status: number; body: string },
): Promise<string> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      const sent = `${JSON.stringify(request.headers)} ${body}`;
      const { status, body: text } = answer(sent, request);
      response.writeHead(status, { 'content-type': 'application/json' }).end(text);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function harmless(t: ExecutionContext, { stdout, stderr }: Finished, secrets: string[]): void {
  t.notRegex(stdout, OBEYED);
  t.notRegex(stderr, OBEYED);
  for (const secret of secrets) t.false((stdout + stderr).includes(secret), secret);
}

test('a Vault that gives the request back prints no secret, and nothing that a terminal obeys', async (t) => {
  const { cloud, folder, runWith } = await world(t);
  const { roleId, secretId } = cloud.vault;
  const url = await echo(t, (sent) => ({
    status: 400,
    body: JSON.stringify({ errors: [`${ATTACK} ${sent} ${encodeURIComponent(sent)}`] }),
  }));
  for (const args of [['check'], ['run', '--json']]) {
    const debug = ['--log-level', 'debug', ...(args[0] === 'run' ? ['--log-file', 'run.log'] : [])];
    const result = await runWith({ VAULT_ADDR: url }, ...args, ...debug);
    harmless(t, result, [roleId, secretId]);
    t.regex(result.stdout + result.stderr, /did not accept the role id.*\\u001b\[2J.*\*\*\*/);
  }
  const log = await readFile(join(folder, 'run.log'), 'utf8');
  t.false(log.includes(secretId) || log.includes(roleId));
  t.notRegex(log, OBEYED);
});

test('keys, session token and terminal escapes in the words of AWS are not printed', async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  const { accessKeyId, secretAccessKey } = organizationData(data, 'oab');
  const { cloud, run } = await world(t, { data });
  const message = `${ATTACK} ${accessKeyId} ${secretAccessKey} is wrong\nresume with: rm`;
  for (const service of ['sts', 'organizations', 'cost-explorer'] as const) {
    cloud.faults.length = 0;
    cloud.faults.push({ service, kind: 'error', code: 'OddException', message, times: Infinity });
    const result = await run('run', '--month', month, '--log-level', 'debug');
    harmless(t, result, [accessKeyId, secretAccessKey]);
    t.regex(result.stdout, /AWS refused the request: \\u001b\[2J.* \*\*\* \*\*\* is wrong resume/);
    const json = await run('run', '--month', month, '--json');
    harmless(t, json, [accessKeyId, secretAccessKey]);
    t.notThrows(() => JSON.parse(json.stdout) as unknown);
  }
});

test.serial("the token of the role's session is cut out of what AWS gives back", async (t) => {
  const token = 'IQoJb3JpZ2luX2VjEXAMPLE//token+with==';
  const url = await echo(t, (sent, { headers }) =>
    headers['x-amz-target'] === undefined
      ? {
          status: 200,
          body: `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAOFTHEROLE1234567</AccessKeyId><SecretAccessKey>secret-of-the-role</SecretAccessKey><SessionToken>${token}</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
        }
      : {
          status: 400,
          body: JSON.stringify({
            __type: 'OddException',
            message: sent.slice(sent.indexOf('x-amz-sec')),
          }),
        },
  );
  setEnvironment(t, { AWS_ENDPOINT_URL: url });
  const { log, lines } = memoryLog();
  const source = openOrganization(
    {
      name: 'oab',
      region: 'eu-west-1',
      credentials: {
        kind: 'keys',
        accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
        secretAccessKey: 'a-secret',
      },
      role: { arn: 'arn:aws:iam::123456789012:role/x', sessionName: 'xx', externalId: undefined },
      billingViewArn: undefined,
      listAccounts: true,
    },
    { log },
  );
  const error = await t.throwsAsync(source.accounts(new AbortController().signal).all());
  source.close();
  t.regex(describeError(error), /x-amz-security-token":"\*\*\*"|Credential=\*\*\*/);
  t.notRegex(describeError(error) + lines.join(''), /IQoJ|ASIAOFTHE|secret-of/);
});

test("the database's password is cut out of what the server says, and its text is one line", (t) => {
  const env = { PIPELINE_DATABASE: 'mysql://u:hunter%2Fseven@h/d' };
  resolveConfig({}, env, {}, { organizations: false, database: true });
  const cause = Object.assign(new Error(`${ATTACK}using hunter/seven\n(hunter%2Fseven)`), {
    code: 'ER_ODD',
  });
  const text = describeError(databaseError(cause, 'mysql://u@h/d'));
  t.regex(text, /using \*\*\* \(\*\*\*\) \(ER_ODD\)/);
  t.notRegex(text, OBEYED);
});

test('a name in the keys of the Vault secret that is none fails by itself, and makes no folder', async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  const long = 'x'.repeat(300);
  for (const name of ['../../etc', 'a\nb', long, ATTACK, '.', '-x'])
    Object.assign(data.secret, { [`aws_${name}_access_key_id`]: 'AKIAIOSFODNN7EXAMPLE' });
  const { folder, run } = await world(t, { data });
  const result = await run('run', '--month', month, '--stage', 'extract');
  t.is(result.code, 1);
  harmless(t, result, []);
  const says = "is not an organization's name [secret/data/billing/aws]; rename the keys";
  for (const name of ['../../etc', 'a\\u000ab', '.', '-x'])
    t.true(result.stdout.includes(`of the secret's keys, "${name}" ${says}`), name);
  t.true(result.stdout.includes(`"${'x'.repeat(80)}" … (300 characters) ${says}`));
  t.regex(result.stdout, /oab\s+extract\s+done/);
  t.deepEqual(await readdir(join(folder, 'staging/raw', `month=${month}`)), ['oab']);
  const checked = await run('check', '--json');
  harmless(t, checked, []);
  t.true(checked.stdout.includes('../../etc'));
});

test('a key of the Vault secret that no header can carry is named', async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  const { run } = await world(t, { data });
  for (const [part, value] of [
    ['access_key_id', 'AKIAIOSFODNN7\nEXAMPLE'],
    ['access_key_id', 'AKIA é hunter7 hunter7'],
    ['secret_access_key', 'hunter7\u0000hunter7'],
    ['externalId', 'hunter7 hunter7'],
  ] as const) {
    const before = data.secret[`aws_oab_${part}`];
    Object.assign(data.secret, { [`aws_oab_${part}`]: value });
    const result = await run('run', '--month', month, '--stage', 'extract');
    t.is(result.code, 1);
    t.regex(result.stdout, new RegExp(`the secret's key aws_oab_${part} is malformed`));
    t.notRegex(result.stdout + result.stderr, /hunter7/);
    Object.assign(data.secret, { [`aws_oab_${part}`]: before });
  }
});
