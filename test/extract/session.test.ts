import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { DataError, TransientError } from '../../pipeline/errors.js';
import { bench, keysOf, setEnvironment } from '../support/extract.js';

const expired = { kind: 'error', code: 'ExpiredTokenException' } as const;

test.serial(
  'a session is renewed before it expires, and no request meets an expired one',
  async (t) => {
    const { run, requests, cloud } = await bench(t, { sessionSeconds: 3, latencyMs: 100 });
    const outcome = await run();
    t.is(outcome.state, 'done');
    t.true(requests('AssumeRole').length > 1);
    t.true(cloud.requests.every(({ ok }) => ok));
  },
);

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
