import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { endOf } from '../../../fixtures/cloud/server.js';
import { startS3 } from '../../../fixtures/cloud/s3.js';
import {
  ConfigurationError,
  DataError,
  InterruptedError,
  TransientError,
} from '../../../pipeline/shared/errors.js';
import type { StagingOptions } from '../../../pipeline/staging/open.js';
import { openStaging, parseStagingLocation } from '../../../pipeline/staging/open.js';
import type { Bucket } from '../../../pipeline/staging/s3-bucket.js';
import { listBucket } from '../../../pipeline/staging/s3.js';
import type { Staging } from '../../../pipeline/staging/staging.js';
import { awsFiles } from '../../support/aws-files.js';
import { drip, flood, httpServer } from '../../support/hostile.js';
import { startProxy } from '../../support/proxy.js';
import { bytesAt, listed, textAt } from './contract.js';

// The SDK takes its settings from the environment, which the tests change: one after the other.

const server = await startS3({ buckets: ['home'] });
server.createBucket('abroad', { region: 'ap-southeast-2' });
test.after.always(() => server.close());
const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('AWS_'));

/** Opens a staging area in an environment with just these settings of AWS. */
async function openIn(
  t: ExecutionContext,
  settings: Record<string, string | undefined>,
  location = 's3://home/area',
  options: StagingOptions = { timeoutMs: 5000 },
): Promise<Staging> {
  const home = await mkdtemp(join(tmpdir(), 'home-'));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  process.env = { ...Object.fromEntries(inherited), HOME: home };
  for (const [name, value] of Object.entries({ ...server.environment, ...settings })) {
    if (value !== undefined) process.env[name] = value;
  }
  return openStaging(parseStagingLocation(location), options);
}

test.serial(
  'the general endpoint variable does as well, by host name and by address',
  async (t) => {
    for (const url of [server.url, server.url.replace('127.0.0.1', 'localhost')]) {
      for (const name of ['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_S3']) {
        const staging = await openIn(t, { AWS_ENDPOINT_URL_S3: undefined, [name]: url });
        await staging.write(name, Buffer.from(url));
        t.is(await textAt(staging, name), url);
        t.is(server.requests.at(-1)?.bucket, 'home');
      }
    }
  },
);

test.serial('without a region a bucket is found, wherever it lies', async (t) => {
  for (const location of ['s3://home', 's3://abroad']) {
    const staging = await openIn(t, { AWS_REGION: undefined }, location);
    await staging.write('file', Buffer.from(location));
    t.is(await textAt(staging, 'file'), location);
  }
});

test.serial(
  'the login of a profile (SSO) is asked through the proxy as the bucket is',
  async (t) => {
    const proxy = await startProxy(t);
    const keys = {
      accessKeyId: server.environment['AWS_ACCESS_KEY_ID'],
      secretAccessKey: server.environment['AWS_SECRET_ACCESS_KEY'],
      sessionToken: 'session',
    };
    const sso = createHttpServer((_, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ roleCredentials: { ...keys, expiration: Date.now() + 3_600_000 } }),
      );
    });
    await once(sso.listen(0, '127.0.0.1'), 'listening');
    t.teardown(() => sso.close());
    const url = `http://127.0.0.1:${(sso.address() as AddressInfo).port}`;
    const start = 'https://start.example';
    const files = await awsFiles(t, {
      config: `[profile ours]\nsso_start_url = ${start}\nsso_region = eu-west-1\nsso_account_id = 1\nsso_role_name = r\n`,
    });
    const cache = join(files.home, '.aws/sso/cache');
    await mkdir(cache, { recursive: true });
    await writeFile(
      join(cache, `${createHash('sha1').update(start).digest('hex')}.json`),
      JSON.stringify({ accessToken: 'token', expiresAt: '2100-01-01T00:00:00Z' }),
    );
    const staging = await openIn(t, {
      ...files.environment,
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_PROFILE: 'ours',
      AWS_ENDPOINT_URL_SSO: url,
      HTTP_PROXY: proxy.url,
    });
    await staging.write('file', Buffer.from('x'));
    t.true(proxy.asked.some((line) => line.startsWith(`GET ${url}/federation/credentials`)));
    t.true(proxy.asked.some((line) => line.startsWith(`PUT ${server.url}/home/`)));
  },
);

test.serial('credentials come from a profile as well', async (t) => {
  const staging = await openIn(t, {
    AWS_ACCESS_KEY_ID: undefined,
    AWS_SECRET_ACCESS_KEY: undefined,
    AWS_PROFILE: 'billing',
  });
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = server.environment;
  const file = join(process.env['HOME'] ?? '', 'credentials');
  await writeFile(file, `[billing]\naws_access_key_id=${id}\naws_secret_access_key=${secret}\n`);
  process.env['AWS_SHARED_CREDENTIALS_FILE'] = file;
  t.deepEqual(await listed(staging, 'nothing/'), []);
});

test.serial('no credentials, and wrong ones, are said', async (t) => {
  const none = await openIn(t, { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined });
  const missing = await t.throwsAsync(none.read('file'), {
    instanceOf: ConfigurationError,
    message: 'no AWS credentials were found for the bucket',
  });
  t.is(missing.where, 's3://home/area/file');
  t.regex(missing.next ?? '', /AWS_PROFILE/);
  const profile = await openIn(t, {
    AWS_ACCESS_KEY_ID: undefined,
    AWS_SECRET_ACCESS_KEY: undefined,
    AWS_PROFILE: 'unknown',
  });
  await t.throwsAsync(profile.read('file'), { instanceOf: ConfigurationError });
  const wrong = await openIn(t, { AWS_ACCESS_KEY_ID: 'AKIAWRONG' });
  await t.throwsAsync(wrong.read('file'), {
    instanceOf: ConfigurationError,
    message: /does not accept the AWS credentials \(InvalidAccessKeyId\)/,
  });
});

test.serial('a server that is not there, or no server of S3, is said', async (t) => {
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const url = `http://127.0.0.1:${(closed.address() as AddressInfo).port}`;
  closed.close();
  await once(closed, 'close');
  const nobody = await openIn(t, { AWS_ENDPOINT_URL_S3: url });
  const error = await t.throwsAsync(nobody.write('file', Buffer.from('x')), {
    instanceOf: TransientError,
    message: 'S3 cannot be reached (ECONNREFUSED)',
  });
  t.regex(error.next ?? '', /AWS_ENDPOINT_URL_S3/);

  const plain = await openIn(t, { AWS_ENDPOINT_URL_S3: server.url.replace('http', 'https') });
  await t.throwsAsync(plain.read('file'), {
    instanceOf: ConfigurationError,
    message: /certificate|TLS/,
  });
});

const xml = { 'content-type': 'application/xml' };

test.serial('an answer that drips or never ends is given up', async (t) => {
  const begin = '<?xml version="1.0"?><ListBucketResult><IsTruncated>';
  const dripping = await httpServer(t, ({ url }, response) => {
    const isFile = url?.includes('list-type') !== true;
    drip(response, isFile ? '' : begin, isFile ? { 'content-length': '1000' } : xml);
  });
  const slow = await openIn(t, { AWS_ENDPOINT_URL_S3: dripping }, 's3://home/area', {
    timeoutMs: 200,
  });
  const late = {
    instanceOf: TransientError,
    message: /^S3 answered without an end: the answer did not end within 1(\.1)? s$/,
  };
  await t.throwsAsync(listed(slow, ''), late);
  await t.throwsAsync(bytesAt(slow, 'file'), late);
  const flooding = await httpServer(t, (_request, response) => {
    flood(response, xml);
  });
  const long = await openIn(t, { AWS_ENDPOINT_URL_S3: flooding });
  await t.throwsAsync(listed(long, ''), {
    instanceOf: TransientError,
    message: 'S3 answered without an end: the answer is longer than 32 MiB',
  });
});

test.serial('an answer whose very head drips is given up', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined).resume();
    socket.write('HTTP/1.1 200 OK\r\nx-a: ');
    const timer = setInterval(() => socket.write('a'), 50);
    socket.once('close', () => {
      clearInterval(timer);
    });
  }).listen(0, '127.0.0.1');
  // What was given up drips on: only the server's end ends it.
  t.teardown(endOf(server));
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const settings = { AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`, AWS_MAX_ATTEMPTS: '1' };
  const staging = await openIn(t, settings, 's3://home/area', { timeoutMs: 300 });
  const attempts = [
    ['list', listed(staging, '')],
    ['read', staging.read('a')],
    ['write', staging.write('a', Buffer.from('1'))],
    ['remove', staging.remove('a')],
  ] as const;
  await Promise.all(
    attempts.map(([verb, work]) =>
      t.throwsAsync(work, {
        instanceOf: TransientError,
        message: `S3 did not ${verb} the file within 6 s`,
      }),
    ),
  );
});

test('a listing whose tokens lead on for ever is given up', async (t) => {
  let pages = 0;
  const bucket: Bucket = {
    location: 's3://b',
    settings: {},
    place: (Key) => ({ Bucket: 'b', Key }),
    keyOf: (name) => name,
    client: () => Promise.reject(new Error('no client')),
    stop: () => undefined,
    ask: <T>() =>
      Promise.resolve({ IsTruncated: true, NextContinuationToken: `token ${++pages}` } as T),
  };
  await t.throwsAsync(listBucket(bucket, '').next(), {
    instanceOf: DataError,
    message: 'the listing has no end after 10000 pages',
  });
});

test.serial('the signal ends what S3 is asked, a write after some grace', async (t) => {
  let asked: () => void = () => undefined;
  const silent = await httpServer(t, () => {
    asked();
  });
  const file = await httpServer(t, (_request, response) => {
    drip(response, 'x', { 'content-length': '1000000' });
    asked();
  });
  const kinds: [string, (staging: Staging) => Promise<unknown>][] = [
    [silent, (staging) => listed(staging, '')],
    [silent, (staging) => staging.read('a')],
    [silent, (staging) => staging.write('a', Buffer.from('1'))],
    [silent, (staging) => staging.remove('a')],
    [file, (staging) => bytesAt(staging, 'a')],
  ];
  for (const [url, work] of kinds) {
    const stop = new AbortController();
    const first = new Promise<void>((resolve) => (asked = resolve));
    const staging = await openIn(t, { AWS_ENDPOINT_URL_S3: url }, 's3://home/area', {
      timeoutMs: 3_600_000,
      signal: stop.signal,
    });
    const ended = t.throwsAsync(work(staging), { instanceOf: InterruptedError });
    await first;
    stop.abort();
    await ended;
  }
});

test.serial('a stopped run still gives back what it holds', async (t) => {
  const stop = new AbortController();
  const staging = await openIn(t, {}, 's3://home/held', { signal: stop.signal });
  await staging.write('lease', Buffer.from('1'));
  stop.abort();
  await t.throwsAsync(listed(staging, ''), { instanceOf: InterruptedError });
  await staging.remove('lease');
  t.deepEqual(await listed(await openIn(t, {}, 's3://home/held'), ''), []);
});
