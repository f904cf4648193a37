import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { openVault } from '../../extract/vault.js';
import { describeError } from '../../pipeline/shared/errors.js';
import { selfSignedCertificate } from '../support/certificate.js';
import { memoryLog } from '../support/extract.js';
import { freePort } from '../support/private-server.js';
import { month, world } from '../support/world.js';
import type { World } from '../support/world.js';
import { goProgram } from './go.js';
import { startHttpServer } from './server.js';
import type { Attempt, Trial } from './trial.js';
import { NotRun, trial } from './trial.js';

/** HashiCorp Vault: its dev server, and one with TLS that is initialized, sealed and unsealed. */

/** The newest version that builds with an SDK of its own on Go's module proxy: its go.mod stands for folders that are not there. */
const vaultServer = {
  module: 'github.com/hashicorp/vault',
  version: 'v1.21.2',
  // AppRole and KV are in it; the engines of the clouds are not.
  tags: 'minimal',
  modules: `
    replace github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3
    replace github.com/ma314smith/signedxml v1.1.1 => github.com/moov-io/signedxml v1.1.1`,
  main: `package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() { os.Exit(command.Run(os.Args[1:])) }
`,
};

/** Vault's API, asked with some token: the answer, `undefined` where it has no body. */
type Ask = (method: string, path: string, body?: unknown, headers?: object) => Promise<unknown>;

const askWith =
  (address: string, token: string): Ask =>
  async (method, path, body, headers = {}) => {
    const answer = await fetch(`${address}/v1/${path}`, {
      method,
      headers: { ...headers, 'X-Vault-Token': token },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  };

/** Where the AWS secret lies, in the engines of both versions. */
const [KV1, KV2] = ['kv/billing/aws', 'secret/data/billing/aws'];
/** Policies: what the role may do, the same but for the secret of version 1, and only with wrapped answers. */
const policies = {
  billing: `path "${KV1}" { capabilities = ["read"] } path "${KV2}" { capabilities = ["read"] }`,
  denied: `path "${KV2}" { capabilities = ["read"] } path "secret/data/absent" { capabilities = ["read"] }`,
  wrapping: `path "${KV2}" { capabilities = ["read"] min_wrapping_ttl = "1s" max_wrapping_ttl = "90s" }`,
};

/** Puts the AWS secret into both engines, and makes AppRole and the policies. */
async function setUp(ask: Ask, secret: object): Promise<void> {
  await ask('POST', 'sys/mounts/kv', { type: 'kv', options: { version: '1' } });
  await ask('POST', 'sys/auth/approle', { type: 'approle' });
  for (const [name, policy] of Object.entries(policies))
    await ask('PUT', `sys/policies/acl/${name}`, { policy });
  await ask('POST', KV1, secret);
  // A new engine of version 2 refuses writes until it has made itself ready.
  for (let tried = 1; ; tried += 1) {
    try {
      await ask('POST', KV2, { data: secret });
      return;
    } catch (error) {
      if (tried === 50) throw error;
      await sleep(100);
    }
  }
}

const ofRole = z.object({ data: z.object({ role_id: z.string() }) });
const ofSecretId = z.object({ data: z.object({ secret_id: z.string() }) });
const wrapped = z.object({ wrap_info: z.object({ token: z.string() }) });

/** A role of its own, and what a user would set to log in with it. */
async function roleWith(ask: Ask, settings: object = {}): Promise<Record<string, string>> {
  const role = `auth/approle/role/role-${randomBytes(4).toString('hex')}`;
  await ask('POST', role, { token_policies: 'billing', token_ttl: '10m', ...settings });
  const { data } = ofRole.parse(await ask('GET', `${role}/role-id`));
  const made = ofSecretId.parse(await ask('POST', `${role}/secret-id`));
  return {
    VAULT_ROLE_ID: data.role_id,
    VAULT_SECRET_ID: made.data.secret_id,
    VAULT_AWS_SECRET_PATH: KV2,
    ROLE: role,
  };
}

/** Tokens that AppRole has given and nobody has revoked. */
async function livingTokens(ask: Ask): Promise<string[]> {
  const keys = z.object({ data: z.object({ keys: z.array(z.string()) }) });
  const found = keys.parse(await ask('LIST', 'auth/token/accessors')).data.keys;
  const living: string[] = [];
  for (const accessor of found) {
    const looked = await ask('POST', 'auth/token/lookup-accessor', { accessor });
    const { path } = z.object({ data: z.object({ path: z.string() }) }).parse(looked).data;
    if (path === 'auth/approle/login') living.push(accessor);
  }
  return living;
}

/** Passes every request on with a further header, as a proxy or an agent may. */
async function wrappingProxy(t: Attempt, address: string): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    const { method, headers, url } = incoming;
    const passed = { method, headers: { ...headers, 'x-vault-wrap-ttl': '60s' } };
    incoming.pipe(
      request(new URL(url ?? '', address), passed, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      }),
    );
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function vaultTrial(t: Attempt): Promise<void> {
  const { program, version } = await goProgram(t.cache, vaultServer);
  t.version(version);
  const ends: (() => Promise<void>)[] = [];
  t.teardown(async () => {
    for (const end of ends.reverse()) await end();
  });
  const made = await world({ teardown: (end) => void ends.push(end) });
  await devServer(t, program, made);
  await tlsServer(t, program, made);
}

/** What `pipeline check` says with these settings, in one line; it has to end with `code`. */
async function checked(
  { runWith }: World,
  code: number,
  env: Record<string, string>,
): Promise<string> {
  const done = await runWith(env, 'check');
  const told = (done.stdout + done.stderr).replaceAll(/\s+/g, ' ');
  assert.equal(done.code, code, told);
  for (const name of ['VAULT_ROLE_ID', 'VAULT_SECRET_ID'])
    assert.ok(!told.includes(env[name] ?? ''), 'a secret was told');
  return told;
}

async function devServer(t: Attempt, program: string, made: World): Promise<void> {
  const port = await freePort();
  const VAULT_ADDR = `http://127.0.0.1:${port}`;
  const root = randomBytes(12).toString('hex');
  const words = [`-dev-listen-address=127.0.0.1:${port}`, `-dev-root-token-id=${root}`];
  await startHttpServer(
    t,
    [program, 'server', '-dev', '-dev-no-store-token', ...words],
    `${VAULT_ADDR}/v1/sys/health`,
  );
  const ask = askWith(VAULT_ADDR, root);
  await setUp(ask, made.cloud.vault.secrets[KV2] ?? {});
  const role = async (settings?: object): Promise<Record<string, string>> => ({
    VAULT_ADDR,
    ...(await roleWith(ask, settings)),
  });
  const check = (code: number, env: Record<string, string>): Promise<string> =>
    checked(made, code, env);

  for (const [words, VAULT_AWS_SECRET_PATH] of [
    ['AppRole, KV version 2: a month', KV2],
    ['KV version 1: a month', KV1],
  ] as const)
    await t.holds(words, async () => {
      const env = { ...(await role()), VAULT_AWS_SECRET_PATH };
      const { code, stdout, stderr } = await made.runWith(env, 'run', '--month', month, '--force');
      assert.equal(code, 0, stdout + stderr);
      assert.doesNotMatch(stderr, /WARN|not revoked/);
      assert.deepEqual(await livingTokens(ask), []);
    });

  await t.holds('tokens of type batch, and tokens of few uses', async () => {
    for (const settings of [
      { token_type: 'batch' },
      { token_num_uses: 1 },
      { token_num_uses: 2 },
    ]) {
      const told = await check(0, await role(settings));
      assert.doesNotMatch(told, /not revoked/, JSON.stringify(settings));
    }
  });

  await t.holds('a wrong role id, a wrong secret id, and one that is used up', async () => {
    const env = await role({ secret_id_num_uses: 1 });
    const bad = /did not accept the role id or the secret id: .*check VAULT_ROLE_ID and/;
    const other = '11111111-2222-3333-4444-555555555555';
    assert.match(await check(1, { ...env, VAULT_SECRET_ID: other }), bad);
    assert.match(await check(1, { ...env, VAULT_ROLE_ID: other }), bad);
    await check(0, env);
    assert.match(await check(1, env), bad);
  });

  await t.holds('a denied path, one that is not there, and version 2 without data/', async () => {
    const env = await role({ token_policies: 'denied' });
    const at = (VAULT_AWS_SECRET_PATH: string) => check(1, { ...env, VAULT_AWS_SECRET_PATH });
    assert.match(
      await at(KV1),
      /Vault denies access: .*kv\/billing\/aws\]; allow the role's policy/,
    );
    assert.match(await at('secret/data/absent'), /has nothing at this path .*secret\/data\/absent/);
    assert.match(await at('secret/billing/aws'), /Vault denies access/);
    const login = { VAULT_LOGIN_PATH: 'auth/other/login' };
    assert.match(await check(1, { ...env, ...login }), /Vault denies access: .*VAULT_LOGIN_PATH/);
  });

  await t.holds('a token that is revoked between login and read', async () => {
    const env = await role();
    const { log, lines } = memoryLog();
    const session = await openVault(
      {
        address: VAULT_ADDR,
        roleId: env['VAULT_ROLE_ID'] ?? '',
        secretId: env['VAULT_SECRET_ID'] ?? '',
        loginPath: 'auth/approle/login',
        skipVerify: false,
      },
      log,
    );
    for (const accessor of await livingTokens(ask))
      await ask('POST', 'auth/token/revoke-accessor', { accessor });
    await assert.rejects(session.read(KV2), (error) => {
      assert.match(
        describeError(error),
        /Vault no longer knows the token .*invalid token.*run the same command again/,
      );
      return true;
    });
    await session.close();
    assert.doesNotMatch(lines.join(''), /lives on/);
  });

  await t.holds('response wrapping: refused, whoever asked for it', async () => {
    const env = await role();
    const proxied = await check(1, { ...env, VAULT_ADDR: await wrappingProxy(t, VAULT_ADDR) });
    assert.match(proxied, /Vault wrapped its answer to the login in a token .*X-Vault-Wrap-TTL/);
    const { wrap_info } = wrapped.parse(
      await ask('POST', `${env['ROLE'] ?? ''}/secret-id`, undefined, { 'X-Vault-Wrap-TTL': '60s' }),
    );
    assert.match(
      await check(1, { ...env, VAULT_SECRET_ID: wrap_info.token }),
      /did not accept .*in a wrapping token has to be unwrapped first/,
    );
    assert.match(await check(1, await role({ token_policies: 'wrapping' })), /Vault denies access/);
  });

  await t.holds('namespaces', () => {
    throw new NotRun(
      "HashiCorp's are in its Enterprise edition alone, and Go's module proxy has no OpenBao",
    );
  });
}

async function tlsServer(t: Attempt, program: string, made: World): Promise<void> {
  const file = (name: string): string => join(t.folder, name);
  const [own, other] = [selfSignedCertificate(), selfSignedCertificate()];
  await writeFile(file('cert.pem'), own.cert);
  await writeFile(file('key.pem'), own.key);
  await writeFile(file('other.pem'), other.cert);
  const [secure, plain] = [await freePort(), await freePort()];
  const address = `http://127.0.0.1:${plain}`;
  const listener = (port: number, rest: object) => ({
    tcp: { address: `127.0.0.1:${port}`, ...rest },
  });
  await writeFile(
    file('vault.json'),
    JSON.stringify({
      storage: { inmem: {} },
      disable_mlock: true,
      api_addr: address,
      listener: [
        listener(secure, { tls_cert_file: file('cert.pem'), tls_key_file: file('key.pem') }),
        listener(plain, { tls_disable: true }),
      ],
    }),
  );
  await startHttpServer(
    t,
    [program, 'server', `-config=${file('vault.json')}`],
    `${address}/v1/sys/health`,
  );
  const nobody = askWith(address, '');
  const env: Record<string, string> = {
    VAULT_ADDR: `https://127.0.0.1:${secure}`,
    VAULT_CACERT: file('cert.pem'),
    VAULT_ROLE_ID: 'd1f6c2b4-none',
    VAULT_SECRET_ID: '5e0a9c77-none',
    VAULT_AWS_SECRET_PATH: KV2,
  };
  const check = (code: number, more: Record<string, string> = {}): Promise<string> =>
    checked(made, code, { ...env, ...more });

  await t.holds('a server that is not initialized', async () => {
    assert.match(await check(1), /Vault is (not initialized|sealed)/);
  });

  const keys = z.object({ keys: z.array(z.string()), root_token: z.string() });
  const init = keys.parse(
    await nobody('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 }),
  );
  const unseal = () => nobody('PUT', 'sys/unseal', { key: init.keys[0] });
  await unseal();
  const ask = askWith(address, init.root_token);
  // It is standby for a moment.
  while (
    !(await ask('GET', 'sys/mounts').then(
      () => true,
      () => false,
    ))
  )
    await sleep(50);
  await ask('POST', 'sys/mounts/secret', { type: 'kv', options: { version: '2' } });
  await setUp(ask, made.cloud.vault.secrets[KV2] ?? {});
  Object.assign(env, await roleWith(ask));

  await t.holds('TLS with a private CA: trusted where it is named, and only then', async () => {
    await check(0);
    const untrusted = /no trusted TLS connection to Vault \(.*VAULT_CACERT/;
    assert.match(await check(1, { VAULT_CACERT: '' }), untrusted);
    assert.match(await check(1, { VAULT_CACERT: file('other.pem') }), untrusted);
    const wrongName = { VAULT_ADDR: `https://localhost:${secure}` };
    assert.match(await check(1, wrongName), untrusted);
    const http = { VAULT_ADDR: `http://127.0.0.1:${secure}` };
    assert.match(await check(1, http), /Vault speaks https at this address.*https:\/\//);
  });

  await t.holds('sealed, and unsealed again: a month', async () => {
    await ask('PUT', 'sys/seal');
    assert.match(await check(1), /Vault is sealed or under maintenance: .*have it unsealed/);
    await unseal();
    while (
      !(await ask('GET', 'sys/mounts').then(
        () => true,
        () => false,
      ))
    )
      await sleep(50);
    const { code, stderr } = await made.runWith(env, 'run', '--month', month, '--force');
    assert.equal(code, 0, stderr);
    assert.deepEqual(await livingTokens(ask), []);
  });
}

export const vaultTrials: readonly Trial[] = [trial('HashiCorp Vault', vaultTrial)];
