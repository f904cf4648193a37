import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, Server } from 'node:http';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { parseOrganizations } from '../../extract/organizations.js';
import type { VaultSettings } from '../../extract/vault.js';
import { openVault } from '../../extract/vault.js';
import type { Cloud, CloudOptions } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import {
  ConfigurationError,
  InterruptedError,
  TransientError,
  describeError,
} from '../../pipeline/shared/errors.js';
import { selfSignedCertificate } from '../support/certificate.js';
import { data, memoryLog, setEnvironment } from '../support/extract.js';

const certificate = selfSignedCertificate();

async function vault(t: ExecutionContext, options: Partial<CloudOptions> = {}) {
  const cloud = await startCloud({ data, ...options });
  t.teardown(() => cloud.close());
  const { log, lines } = memoryLog();
  const settings = settingsFor(cloud);
  t.teardown(() => {
    const logged = lines.join('');
    const secrets = [settings.secretId, settings.roleId, 'hvs.'];
    if (secrets.some((secret) => logged.includes(secret))) throw new Error('a secret was logged');
  });
  return { cloud, log, lines, settings, path: cloud.environment['VAULT_AWS_SECRET_PATH']! };
}

function settingsFor(cloud: Cloud): VaultSettings {
  return {
    address: cloud.vaultUrl,
    roleId: cloud.vault.roleId,
    secretId: cloud.vault.secretId,
    loginPath: cloud.vault.loginPath,
    skipVerify: false,
  };
}

const operations = (cloud: Cloud): string[] => cloud.requests.map(({ operation }) => operation);

async function fails(t: ExecutionContext, work: Promise<unknown>, says: RegExp): Promise<Error> {
  const error = await t.throwsAsync(work);
  t.regex(describeError(error), says);
  t.notRegex(
    `${describeError(error)}${JSON.stringify(error)}${String(error.cause)}`,
    /hvs\.|0b1f6a52/,
  );
  return error;
}

for (const kvVersion of [1, 2] as const) {
  test.serial(`KV version ${kvVersion}: the secret is read, and the token revoked`, async (t) => {
    const { cloud, log, lines, settings, path } = await vault(t, { kvVersion });
    const session = await openVault(settings, log);
    const secret = await session.read(path);
    await session.close();
    t.deepEqual(secret, data.secret);
    t.is(parseOrganizations(secret, path).length, data.organizations.length);
    t.deepEqual(operations(cloud), ['login', 'read', 'revoke-self']);
    t.true(cloud.requests.every(({ ok }) => ok));
    t.false(lines.some((line) => line.includes('"level":40')));
  });
}

test.serial(
  'a version 1 secret with keys of its own called data and metadata stays whole',
  async (t) => {
    const own = { data: { a: 1 }, metadata: 'mine', other: 'x' };
    const { log, settings } = await vault(t, { kvVersion: 1, secrets: { 'kv/odd': own } });
    const session = await openVault(settings, log);
    t.deepEqual(await session.read('kv/odd'), own);
  },
);

test.serial('login and secret paths may be full URLs, as the script had them', async (t) => {
  const { cloud, log, settings, path } = await vault(t);
  const session = await openVault(
    { ...settings, loginPath: `${cloud.vaultUrl}/v1/auth/approle/login` },
    log,
  );
  t.deepEqual(await session.read(`${cloud.vaultUrl}/v1/${path}`), data.secret);
  await fails(t, session.read('http://other.example/v1/kv/aws'), /another server/);
});

test.serial('another login path and a namespace reach Vault', async (t) => {
  const { cloud, log, settings, path } = await vault(t, {
    vault: { loginPath: 'auth/billing/login', namespace: 'finance' },
  });
  const session = await openVault({ ...settings, namespace: 'finance' }, log);
  t.deepEqual(await session.read(path), data.secret);
  await session.close();
  t.true(cloud.requests.every(({ ok }) => ok));
  await fails(t, openVault(settings, log), /denies access: .*permission denied.*VAULT_NAMESPACE/);
});

test.serial('failure: a wrong secret id', async (t) => {
  const { log, settings } = await vault(t);
  const work = openVault({ ...settings, secretId: 'wrong-0b1f' }, log);
  const error = await fails(
    t,
    work,
    /invalid role or secret ID .*auth\/approle\/login\]; check VAULT_ROLE_ID and VAULT_SECRET_ID/,
  );
  t.true(error instanceof ConfigurationError);
  t.false(describeError(error).includes('wrong-0b1f'));
});

test.serial('failure: a sealed Vault', async (t) => {
  const { log, settings } = await vault(t, { vault: { sealed: true } });
  t.true((await fails(t, openVault(settings, log), /sealed .*unsealed/)) instanceof TransientError);
});

test.serial('failure: a denied path, and one that is not there', async (t) => {
  const { log, settings, path } = await vault(t, { vault: { denied: ['secret/data/denied'] } });
  const session = await openVault(settings, log);
  await fails(
    t,
    session.read('secret/data/denied'),
    /denies access.*secret\/data\/denied\]; allow the role's policy/,
  );
  await fails(t, session.read('secret/billing/aws'), /nothing at this path .*KV version 2/);
  t.deepEqual(await session.read(path), data.secret);
});

test.serial('failure: an answer in a wrapping token, and a secret id that is one', async (t) => {
  const { cloud, log, settings, path } = await vault(t);
  cloud.vault.wrapped = [path];
  const session = await openVault(settings, log);
  const reading = await fails(t, session.read(path), /wrapped its answer to the read in a token/);
  t.true(reading instanceof ConfigurationError);
  t.regex(describeError(reading), /secret\/data\/billing\/aws\]; .*X-Vault-Wrap-TTL/);
  cloud.vault.wrapped = [settings.loginPath];
  await fails(t, openVault(settings, log), /wrapped its answer to the login .*X-Vault-Wrap-TTL/);
  cloud.vault.wrapped = [];
  const work = openVault({ ...settings, secretId: 'hvs.CAESIwrapped' }, log);
  await fails(t, work, /invalid role or secret ID .*wrapping token has to be unwrapped first/);
});

for (const status of [412, 473, 429]) {
  test.serial(`status ${status} is asked again a few times, then told`, async (t) => {
    const { cloud, log, settings, path } = await vault(t);
    const fault = { service: 'vault', kind: 'error', status, message: 'passing' } as const;
    cloud.faults.push({ ...fault, operation: 'login' }, { ...fault, operation: 'read', times: 2 });
    const session = await openVault(settings, log);
    t.deepEqual(await session.read(path), data.secret);
    t.deepEqual(operations(cloud), ['login', 'login', 'read', 'read', 'read']);
    cloud.faults.push({ ...fault, operation: 'read', times: Infinity });
    const error = await fails(t, session.read(path), /: passing .*again/);
    t.true(error instanceof TransientError);
  });
}

test.serial('failure: a Vault that fails, and a server that is no Vault', async (t) => {
  const { cloud, log, settings } = await vault(t);
  cloud.faults.push({ service: 'vault', kind: 'status', status: 502 });
  await fails(t, openVault(settings, log), /failed with status 502/);
  cloud.faults.push({ service: 'vault', kind: 'status', status: 200 });
  await fails(t, openVault(settings, log), /not an answer of Vault to a login/);
});

test.serial('failure: a success of Vault that holds nothing', async (t) => {
  const { cloud, log, settings, path } = await vault(t);
  const none = ['', '{}', 'null', '[]', '5', '{"errors":[]}'];
  const fault = { service: 'vault', kind: 'body', times: Infinity } as const;
  for (const body of [...none, '{"auth":null}', '{"auth":{"client_token":""}}']) {
    cloud.faults.push({ ...fault, operation: 'login', body });
    const error = await fails(t, openVault(settings, log), /not an answer of Vault to a login/);
    t.true(error instanceof TransientError);
    cloud.faults.length = 0;
  }
  const session = await openVault(settings, log);
  for (const body of [...none, '{"data":null}', '{"data":[]}', '{"data":"x"}']) {
    cloud.faults.push({ ...fault, operation: 'read', body });
    const error = await fails(t, session.read(path), /not an answer of Vault to a read/);
    t.true(error instanceof TransientError);
    cloud.faults.length = 0;
  }
  t.true(Object.keys(await session.read(path)).length > 0);
});

test.serial(
  'failure: a Vault that never answers is given up; Ctrl-C does not wait for that',
  async (t) => {
    const { cloud, log, settings } = await vault(t);
    cloud.faults.push({ service: 'vault', kind: 'hang', times: Infinity });
    const controller = new AbortController();
    const opening = openVault(settings, log, controller.signal);
    await Promise.all([
      t.throwsAsync(opening, { instanceOf: InterruptedError }),
      cloud
        .arrival(({ operation }) => operation === 'login')
        .then(() => {
          controller.abort();
        }),
    ]);
    // Whether the request has arrived by then or not: nobody ever answers it.
    await fails(t, openVault({ ...settings, timeoutMs: 100 }, log), /no answer in time/);
  },
);

test.serial('failure: a wrong address', async (t) => {
  const { log, settings } = await vault(t);
  const refused = { ...settings, address: 'http://127.0.0.1:1' };
  await fails(t, openVault(refused, log), /could not be reached \(ECONNREFUSED\) .*VAULT_ADDR/);
  const unknown = { ...settings, address: 'https://vault.invalid' };
  await fails(t, openVault(unknown, log), /\((ENOTFOUND|EAI_AGAIN)\) .*VAULT_ADDR/);
});

test.serial('a token that cannot be revoked is told in the log, and is no failure', async (t) => {
  const { cloud, log, lines, settings } = await vault(t);
  const session = await openVault(settings, log);
  cloud.faults.push({ service: 'vault', operation: 'revoke-self', kind: 'error', status: 403 });
  await session.close();
  t.true(lines.some((line) => line.includes('"level":40') && line.includes('not revoked')));
});

test.serial(
  'a token that is gone already is told by the read, and is none to revoke',
  async (t) => {
    const { log, lines, settings, path } = await vault(t, { vault: { tokenSeconds: 0 } });
    const session = await openVault(settings, log);
    const error = await fails(t, session.read(path), /no longer knows the token .*invalid token/);
    t.true(error instanceof TransientError);
    t.regex(describeError(error), /token_num_uses/);
    await session.close();
    t.false(lines.some((line) => line.includes('"level":40')));
  },
);

test.serial('the token is revoked after an interruption too', async (t) => {
  const { cloud, log, settings, path } = await vault(t);
  const controller = new AbortController();
  const session = await openVault(settings, log, controller.signal);
  controller.abort();
  await t.throwsAsync(session.read(path), { instanceOf: InterruptedError });
  await session.close();
  t.deepEqual(operations(cloud), ['login', 'revoke-self']);
});

test.serial('TLS: a private CA is trusted when named, and only then', async (t) => {
  const { log, settings, path } = await vault(t, { tls: certificate });
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const caCert = join(folder, 'ca.pem');
  await writeFile(caCert, certificate.cert);
  const session = await openVault({ ...settings, caCert }, log);
  t.deepEqual(await session.read(path), data.secret);
  await session.close();
  const untrusted = await fails(
    t,
    openVault(settings, log),
    /no trusted TLS connection to Vault .*VAULT_CACERT/,
  );
  t.true(untrusted instanceof ConfigurationError);
  await fails(
    t,
    openVault({ ...settings, caCert: join(folder, 'no.pem') }, log),
    /cannot be read .*no\.pem/,
  );
});

test.serial(
  'TLS: verification is off only when the setting says so, and then with a warning',
  async (t) => {
    const { log, lines, settings, path } = await vault(t, { tls: certificate });
    setEnvironment(t, { VAULT_SKIP_VERIFY: 'true', NODE_TLS_REJECT_UNAUTHORIZED: '0' });
    await fails(t, openVault(settings, log), /no trusted TLS connection/);
    t.false(lines.some((line) => line.includes('not checked')));
    const session = await openVault({ ...settings, skipVerify: true }, log);
    t.deepEqual(await session.read(path), data.secret);
    t.true(lines.some((line) => line.includes('"level":40') && line.includes('not checked')));
  },
);

test.serial('failure: http where Vault speaks https', async (t) => {
  const { log, settings } = await vault(t, { tls: certificate });
  const address = settings.address.replace('https', 'http');
  await fails(
    t,
    openVault({ ...settings, address }, log),
    /could not be reached|https at this address/,
  );
});

test.serial('DEBUG prints neither the secret id nor the token', async (t) => {
  const { cloud, settings } = await vault(t);
  const module = new URL('../../extract/vault.js', import.meta.url).href;
  const script = `
    const { openVault } = await import(${JSON.stringify(module)});
    const quiet = { debug() {}, info() {}, warn() {}, error() {} };
    const session = await openVault(JSON.parse(process.env.SETTINGS), quiet);
    await session.read('secret/data/billing/aws');
    await session.close();
  `;
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', script],
    { env: { ...process.env, DEBUG: '*', SETTINGS: JSON.stringify(settings) } },
  );
  t.deepEqual(operations(cloud), ['login', 'read', 'revoke-self']);
  for (const secret of [settings.secretId, 'hvs.', data.secret['aws_oab_secret_access_key']!])
    t.false(`${stdout}${stderr}`.includes(secret));
});

/** A server that notes what it is sent, and answers a login. */
async function noting(t: ExecutionContext, moved?: string) {
  const seen: { url: string; headers: IncomingHttpHeaders }[] = [];
  const server: Server = createServer((request, response) => {
    seen.push({ url: request.url ?? '', headers: request.headers });
    if (moved !== undefined) response.writeHead(307, { location: moved + (request.url ?? '') });
    response.end(JSON.stringify({ auth: { client_token: 'token', token_type: 'batch' } }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { seen, url: `http://127.0.0.1:${port}` };
}

test.serial(
  "the machine's own Vault variables have no part in it, nor a proxy of another kind",
  async (t) => {
    const { log, settings } = await vault(t);
    const proxy = await noting(t);
    const { seen, url } = await noting(t);
    setEnvironment(t, {
      VAULT_TOKEN: 'ambient',
      VAULT_ADDR: proxy.url,
      VAULT_NAMESPACE: 'ambient',
      VAULT_PREFIX: '/ambient',
      HTTPS_PROXY: proxy.url,
      ALL_PROXY: proxy.url,
    });
    const session = await openVault({ ...settings, address: url }, log);
    await session.close();
    t.deepEqual(
      seen.map((request) => request.url),
      ['/v1/auth/approle/login'],
    );
    t.notRegex(JSON.stringify(seen), /ambient/);
    t.is(proxy.seen.length, 0);
  },
);

test.serial('a standby that sends on to the active node is followed', async (t) => {
  const { cloud, log, settings, path } = await vault(t);
  const standby = await noting(t, cloud.vaultUrl);
  const session = await openVault({ ...settings, address: standby.url }, log);
  t.deepEqual(await session.read(path), data.secret);
  await session.close();
  t.deepEqual(operations(cloud), ['login', 'read', 'revoke-self']);
});

test.serial('node-vault comes without axios, which it loads and we never call', async (t) => {
  const { log, settings } = await vault(t);
  await (await openVault(settings, log)).close();
  const require = createRequire(import.meta.url);
  const ofPackage = (name: string): string[] =>
    Object.keys(require.cache).filter((file) => file.includes(`/node_modules/${name}/`));
  t.not(ofPackage('node-vault').length, 0);
  for (const name of ['axios', 'follow-redirects', 'form-data', 'mime-db'])
    t.deepEqual(ofPackage(name), []);
  // Somebody else in the process gets the real one.
  const axios = createRequire(require.resolve('node-vault'))('axios') as { create: unknown };
  t.is(typeof axios.create, 'function');
});
