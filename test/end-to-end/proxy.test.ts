import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { selfSignedCertificate } from '../support/certificate.js';
import type { Finished } from '../support/cli.js';
import type { ProxyOptions, TestProxy } from '../support/proxy.js';
import { startProxy } from '../support/proxy.js';
import { month, world } from '../support/world.js';

const certificate = selfSignedCertificate();

/** A cloud that speaks https alone, a proxy on the way to it, and an authority file that trusts it. */
async function behindProxy(t: ExecutionContext, options: ProxyOptions = {}) {
  const { cloud, folder, runWith } = await world(t, { tls: certificate });
  const proxy = await startProxy(t, options);
  const ca = join(folder, 'ca.pem');
  await writeFile(ca, certificate.cert);
  const trusted = { AWS_ENDPOINT_URL: cloud.vaultUrl, VAULT_CACERT: ca, AWS_CA_BUNDLE: ca };
  const run = (env: Record<string, string>, ...args: string[]): Promise<Finished> =>
    runWith({ ...trusted, ...env }, ...args);
  return { cloud, folder, proxy, run, host: new URL(cloud.vaultUrl).host };
}

const extract = ['run', '--month', month, '--stage', 'extract'];

const everyCall = (proxy: TestProxy): Set<string> => new Set(proxy.asked);

test('a run goes through the proxy: Vault, STS, Organizations and Cost Explorer', async (t) => {
  const { cloud, proxy, run, host } = await behindProxy(t, { login: 'me:p%40ss w' });
  const { port } = new URL(proxy.url);
  const result = await run({ HTTPS_PROXY: `http://me:p%2540ss%20w@127.0.0.1:${port}` }, ...extract);
  t.is(result.code, 0, result.stderr);
  t.deepEqual(everyCall(proxy), new Set([`CONNECT ${host}`]));
  const services = new Set(cloud.requests.map(({ service }) => service));
  t.deepEqual(services, new Set(['vault', 'sts', 'organizations', 'cost-explorer'] as const));
});

test('a proxy is not asked for what NO_PROXY names, nor for https when it is that of http', async (t) => {
  const { proxy, run, host } = await behindProxy(t);
  const env = { HTTPS_PROXY: proxy.url, NO_PROXY: `example.com, ${host}`, HTTP_PROXY: proxy.url };
  const result = await run(env, ...extract);
  t.is(result.code, 0, result.stderr);
  t.deepEqual(proxy.asked, []);
});

test('S3 goes through the proxy of its own scheme, each request on its way to the bucket', async (t) => {
  const { cloud, proxy, run } = await behindProxy(t);
  const s3 = await startS3({ buckets: ['bucket'] });
  t.teardown(() => s3.close());
  const env = { ...s3.environment, AWS_ENDPOINT_URL: cloud.vaultUrl, HTTP_PROXY: proxy.url };
  const result = await run(env, ...extract, '--staging', 's3://bucket/area');
  t.is(result.code, 0, result.stderr);
  t.true(proxy.asked.length > 5);
  t.true(proxy.asked.every((line) => /^(GET|PUT|DELETE|POST|HEAD) /.test(line)));
  t.true(proxy.asked.every((line) => line.includes(` ${s3.url}/bucket`)));
  t.is(proxy.asked.filter((line) => line.startsWith('PUT')).length, putsOf(s3.requests));
});

function putsOf(requests: readonly { operation: string }[]): number {
  return requests.filter(({ operation }) => /^(Put|UploadPart)/.test(operation)).length;
}

for (const [what, options, says] of [
  ['asks for a login', { login: 'me:hunter7' }, /the proxy asks for a login \(407\) \[HTTPS_PROXY/],
  ['forbids the host', { status: 403 }, /the proxy does not let requests to .* \(403\).*NO_PROXY/],
  ['fails', { status: 502 }, /the proxy does not reach 127\.0\.0\.1:\d+ \(502\)/],
  ['never answers', { silent: true }, /the proxy on the way to .* \(ETIMEDOUT\) \[HTTPS_PROXY/],
] as const) {
  test(`a proxy that ${what} is named, and its password is not`, async (t) => {
    const { proxy, run, cloud } = await behindProxy(t, options);
    const { host } = new URL(proxy.url);
    const env = { HTTPS_PROXY: `http://me:wrong-hunter8@${host}` };
    const patience = 'silent' in options ? ['--timeout', '2'] : [];
    const result = await run(env, ...extract, ...patience, '--log-level', 'debug');
    t.is(result.code, 1);
    t.regex(result.stderr, says);
    t.notRegex(result.stdout + result.stderr, /hunter/);
    t.is(cloud.requests.length, 0);
  });
}

test('a proxy that is not there is named by its variable', async (t) => {
  const { run } = await behindProxy(t);
  const { code, stderr } = await run({ https_proxy: '127.0.0.1:1' }, ...extract);
  t.is(code, 1);
  t.regex(stderr, /proxy on the way to .* \(ECONNREFUSED\) \[https_proxy, 127\.0\.0\.1:1\]/);
});

test('behind a proxy, AWS is refused alike in every organization, and tried as often as without', async (t) => {
  const { cloud, run } = await behindProxy(t);
  // Vault is reached directly, and AWS by another name of this machine through a proxy that forbids it.
  const closed = await startProxy(t, { status: 403 });
  const env = {
    HTTPS_PROXY: closed.url,
    NO_PROXY: '127.0.0.1',
    AWS_ENDPOINT_URL: cloud.vaultUrl.replace('127.0.0.1', 'localhost'),
  };
  const result = await run(env, ...extract);
  t.is(result.code, 1);
  t.regex(
    result.stdout,
    /oab extract failed: the proxy does not let requests to localhost:\d+ thr/,
  );
  t.is(closed.asked.length, 2);
});

test("AWS's certificate is checked against AWS_CA_BUNDLE, behind a proxy too", async (t) => {
  const { folder, proxy, run } = await behindProxy(t);
  const other = join(folder, 'other.pem');
  await writeFile(other, selfSignedCertificate().cert);
  for (const env of [{}, { HTTPS_PROXY: proxy.url }]) {
    // That the right one is trusted, the other tests show.
    const refused = await run({ ...env, AWS_CA_BUNDLE: other }, ...extract);
    t.is(refused.code, 1);
    t.regex(refused.stdout, /certificate of AWS was not accepted .*AWS_CA_BUNDLE/);
  }
  await writeFile(other, 'no certificate');
  const wrong = await run({ AWS_CA_BUNDLE: other }, ...extract);
  t.is(wrong.code, 2);
  t.regex(wrong.stderr, /the file of AWS_CA_BUNDLE holds no certificates/);
});

test('a certificate for another name is refused behind a proxy, also where it is that of the proxy', async (t) => {
  const { cloud, proxy, run } = await behindProxy(t);
  // The stand-in's certificate is for 127.0.0.1, where the proxy is too.
  const elsewhere = cloud.vaultUrl.replace('127.0.0.1', 'localhost');
  const env = { HTTPS_PROXY: proxy.url, AWS_ENDPOINT_URL: elsewhere };
  const result = await run(env, ...extract);
  t.is(result.code, 1);
  t.regex(result.stdout, /ERR_TLS_CERT_ALTNAME_INVALID/);
});
