import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { holdCredentials } from '../../extract/credentials.js';
import type { OrganizationSource } from '../../extract/organization-source.js';
import { DataError, TransientError } from '../../pipeline/errors.js';
import { beforeWrites, bench, keysOf, setEnvironment } from '../support/extract.js';

const expired = { kind: 'error', code: 'ExpiredTokenException' } as const;

const SECOND = 1000;

/** Sets the clock of this process, the stand-in's as well as the stage's, forward. */
function clockFor(t: ExecutionContext): { forward: (milliseconds: number) => void } {
  const real = Date.now;
  let shift = 0;
  Date.now = () => real() + shift;
  t.teardown(() => {
    Date.now = real;
  });
  return {
    forward(milliseconds) {
      shift += milliseconds;
    },
  };
}

/** An organization whose accounts are listed already, so that none of its requests is on its way as the clock is set. */
async function listedSource(open: () => OrganizationSource): Promise<OrganizationSource> {
  const source = open();
  await source.accounts(new AbortController().signal);
  return source;
}

test.serial(
  'a session is renewed five minutes before it expires, and no request meets an expired one',
  async (t) => {
    const { run, requests, cloud, staging, open } = await bench(t);
    const clock = clockFor(t);
    const source = await listedSource(open);
    const used: (string | undefined)[] = [];
    // Sessions of an hour, and pages that lie further and further apart.
    const pages = [54 * 60 * SECOND, 2 * 60 * SECOND, 55 * 60 * SECOND, 2 * 3600 * SECOND];
    const slow = beforeWrites(staging, (key) => {
      if (!key.includes('/cost-and-usage-')) return;
      used.push(requests('GetCostAndUsage').at(-1)?.accessKeyId);
      clock.forward(pages.shift() ?? 0);
    });
    t.is((await run({ staging: slow, source: () => source })).state, 'done');
    t.true(cloud.requests.every(({ ok }) => ok));
    const sessions = [...new Set(used)];
    t.deepEqual(
      used.slice(0, 5).map((key) => sessions.indexOf(key)),
      [0, 0, 1, 2, 3],
    );
    t.is(requests('AssumeRole').length, 4);
  },
);

test.serial('a session shorter than ten minutes is renewed at its half', async (t) => {
  const { run, requests, cloud, staging, open } = await bench(t, { sessionSeconds: 500 });
  const clock = clockFor(t);
  const source = await listedSource(open);
  const pages = [200 * SECOND, 100 * SECOND];
  const slow = beforeWrites(staging, (key) => {
    if (key.includes('/cost-and-usage-')) clock.forward(pages.shift() ?? 0);
  });
  await run({ staging: slow, source: () => source });
  t.true(cloud.requests.every(({ ok }) => ok));
  const [first, second, third] = requests('GetCostAndUsage').map(({ accessKeyId }) => accessKeyId);
  t.is(first, second);
  t.not(second, third);
  t.is(requests('AssumeRole').length, 2);
});

test('credentials are held until they have to be renewed, and a failure is not held', async (t) => {
  const lives = [600 * SECOND, undefined];
  let obtained = 0;
  const held = holdCredentials(() => {
    obtained++;
    if (obtained === 1) return Promise.reject(new Error('not yet'));
    const life = lives.shift();
    return Promise.resolve({
      accessKeyId: `key ${obtained}`,
      secretAccessKey: 'secret',
      ...(life === undefined ? {} : { expiration: new Date(Date.now() + life) }),
    });
  });
  await t.throwsAsync(held.credentials(), { message: 'not yet' });
  const [one, other] = await Promise.all([held.credentials(), held.credentials()]);
  t.is(one, other);
  t.is(obtained, 2);
  t.is(await held.credentials(), one);
  held.drop({ ...one });
  t.is(await held.credentials(), one, 'only those in force are let go of');
  held.drop(one);
  const last = await held.credentials();
  t.is(last.accessKeyId, 'key 3');
  held.drop(one);
  t.is(await held.credentials(), last);
  t.is(obtained, 3);
});

test.serial(
  'a session that ends early is assumed anew, and the same request sent again',
  async (t) => {
    const { run, requests, cloud } = await bench(t);
    cloud.faults.push({ service: 'cost-explorer', ...expired, afterRequests: 2 });
    const { requests: paid } = await run();
    const asked = requests('GetCostAndUsage');
    t.is(asked.length, paid + 1);
    t.is(asked[2]?.token, asked[3]?.token);
    t.not(asked[2]?.accessKeyId, asked[3]?.accessKeyId);
    t.is(requests('AssumeRole').length, 2);
  },
);

test.serial('both services meeting the end of the session at once go on', async (t) => {
  const { run, cloud } = await bench(t);
  cloud.faults.push(
    { service: 'cost-explorer', ...expired },
    { service: 'organizations', ...expired },
  );
  t.like(await run(), { state: 'done', customers: 131 });
});

test.serial('a session that is expired from its start is a clear failure', async (t) => {
  const { run, cloud, requests } = await bench(t);
  cloud.faults.push({ service: 'cost-explorer', ...expired, times: Infinity });
  const error = await t.throwsAsync(run(), {
    instanceOf: TransientError,
    message: /session expired right after it was assumed/,
  });
  t.is(error.where, 'GetCostAndUsage, organization oab, 2026-10');
  t.is(requests('GetCostAndUsage').length, 2);
});

test.serial("the organization's own keys win over the machine's", async (t) => {
  const { run, requests, access, data } = await bench(t);
  setEnvironment(t, {
    AWS_ACCESS_KEY_ID: data.operator.accessKeyId,
    AWS_SECRET_ACCESS_KEY: data.operator.secretAccessKey,
    AWS_SESSION_TOKEN: 'ambient',
    AWS_PROFILE: 'absent',
    AWS_REGION: 'ap-southeast-2',
  });
  await run();
  const { credentials, role } = access('oab');
  t.is(credentials.kind, 'keys');
  t.like(credentials, { accessKeyId: requests('AssumeRole')[0]?.accessKeyId });
  t.like(requests('AssumeRole')[0]?.input, {
    RoleArn: role?.arn,
    RoleSessionName: role?.sessionName,
  });
});

test.serial('throttles are retried, and the pages come out whole', async (t) => {
  const { run, cloud, manifest } = await bench(t);
  setEnvironment(t, { AWS_MAX_ATTEMPTS: '3' });
  cloud.faults.push(
    { service: 'sts', kind: 'throttle' },
    { service: 'organizations', kind: 'throttle', afterRequests: 1, times: 2 },
    { service: 'cost-explorer', kind: 'throttle', afterRequests: 2, times: 2 },
    { service: 'cost-explorer', kind: 'status', status: 503, afterRequests: 6 },
  );
  const outcome = await run();
  const { requests } = await manifest(outcome.extraction);
  t.is(requests.GetCostAndUsage, outcome.requests);
  t.is(cloud.requests.filter(({ charged }) => charged).length, outcome.requests);
});

test.serial(
  'a service that gives the same token for ever is left after its second page',
  async (t) => {
    const { run, staging } = await bench(t);
    let asked = 0;
    const server = createServer((_, response) => {
      asked += 1;
      response.setHeader('content-type', 'application/x-amz-json-1.1');
      response.end(
        JSON.stringify({
          ResultsByTime: [{ TimePeriod: { Start: '2026-10-01', End: '2026-11-01' } }],
          NextPageToken: 'again',
        }),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => server.close());
    const { port } = server.address() as AddressInfo;
    setEnvironment(t, { AWS_ENDPOINT_URL_COST_EXPLORER: `http://127.0.0.1:${port}` });
    await t.throwsAsync(run(), { instanceOf: DataError, message: /same continuation token/ });
    t.is(asked, 2);
    t.is((await keysOf(staging)).filter((key) => key.includes('/cost-and-usage-')).length, 1);
  },
);
