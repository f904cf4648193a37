import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { GetCostAndUsageCommand } from '@aws-sdk/client-cost-explorer';
import { ListAccountsCommand } from '@aws-sdk/client-organizations';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { holdCredentials } from '../../extract/credentials.js';
import type { OrganizationSource } from '../../extract/organization-source.js';
import { listedOrganizations } from '../../extract/organizations.js';
import { openSession } from '../../extract/session.js';
import {
  ConfigurationError,
  DataError,
  TransientError,
  describeError,
} from '../../pipeline/shared/errors.js';
import { root } from '../support/cli.js';
import { beforeWrites, bench, keysOf, memoryLog, setEnvironment } from '../support/extract.js';

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
  await source.accounts(new AbortController().signal).all();
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

/** Every region of the SDK's own partition data, pseudo-regions such as aws-global too. */
async function regionsOfSdk(): Promise<string[]> {
  const lib = 'dist-es/submodules/client/util-endpoints/lib/aws/partitions.js';
  const text = await readFile(join(root, 'node_modules/@aws-sdk/core', lib), 'utf8');
  return [...text.matchAll(/"([a-z0-9-]+)": \{\s+"description"/g)].map(([, region = '']) => region);
}

/** Of the SDK's own request, what the test looks at. */
interface Signed {
  hostname: string;
  headers: Record<string, string>;
}

/** Where a session of a region asks, and which region it signs for: host and region by signing name. */
async function asked(region: string): Promise<Record<string, [host: string, region: string]>> {
  const credentials = { kind: 'keys', accessKeyId: 'AKIA', secretAccessKey: 's' } as const;
  const access = {
    name: 'x',
    region,
    credentials,
    role: undefined,
    billingViewArn: undefined,
    listAccounts: true,
  };
  const session = openSession(access, { log: memoryLog().log });
  const found: Awaited<ReturnType<typeof asked>> = {};
  const look = ({ hostname, headers }: Signed): never => {
    const scope = /Credential=AKIA\/\d+\/([^/]+)\/([^/]+)/.exec(headers['authorization'] ?? '');
    found[scope?.[2] ?? ''] = [hostname, scope?.[1] ?? ''];
    throw new Error('seen');
  };
  const place = { step: 'deserialize', priority: 'low' } as const;
  const { signal } = new AbortController();
  await session
    .call({ operation: 'ListAccounts' }, signal, ({ organizations }) => {
      organizations.middlewareStack.add(
        () =>
          ({ request }) =>
            look(request as Signed),
        place,
      );
      return organizations.send(new ListAccountsCommand());
    })
    .catch(() => undefined);
  await session
    .call({ operation: 'GetCostAndUsage' }, signal, ({ costExplorer }) => {
      costExplorer.middlewareStack.add(
        () =>
          ({ request }) =>
            look(request as Signed),
        place,
      );
      return costExplorer.send(
        new GetCostAndUsageCommand({
          TimePeriod: { Start: '2026-10-01', End: '2026-11-01' },
          Granularity: 'MONTHLY',
          Metrics: ['UnblendedCost'],
        }),
      );
    })
    .catch(() => undefined);
  session.close();
  return found;
}

test.serial(
  'Cost Explorer and Organizations are asked where the SDK says, in every partition',
  async (t) => {
    t.deepEqual(await asked('eu-west-3'), {
      organizations: ['organizations.us-east-1.amazonaws.com', 'us-east-1'],
      ce: ['ce.us-east-1.amazonaws.com', 'us-east-1'],
    });
    t.deepEqual(await asked('eusc-de-east-1'), {
      organizations: ['organizations.eusc-de-east-1.amazonaws.eu', 'eusc-de-east-1'],
      ce: ['ce.eusc-de-east-1.api.amazonwebservices.eu', 'eusc-de-east-1'],
    });
    t.deepEqual((await asked('cn-north-1'))['ce'], [
      'ce.cn-northwest-1.amazonaws.com.cn',
      'cn-northwest-1',
    ]);
    t.deepEqual((await asked('us-iso-west-1'))['ce'], [
      'ce.us-iso-east-1.c2s.ic.gov',
      'us-iso-east-1',
    ]);
    t.deepEqual((await asked('us-isob-east-1'))['ce'], [
      'ce.us-isob-east-1.sc2s.sgov.gov',
      'us-isob-east-1',
    ]);
    // Behind an endpoint of one's own the region stays the partition's.
    setEnvironment(t, { AWS_ENDPOINT_URL: 'http://127.0.0.1:9' });
    t.deepEqual(await asked('eusc-de-east-1'), {
      organizations: ['127.0.0.1', 'eusc-de-east-1'],
      ce: ['127.0.0.1', 'eusc-de-east-1'],
    });
    t.deepEqual((await asked('ap-southeast-7'))['ce'], ['127.0.0.1', 'us-east-1']);
  },
);

test.serial(
  'every region that the SDK knows is taken, but GovCloud, before anything is asked',
  async (t) => {
    const regions = await regionsOfSdk();
    t.true(regions.length > 40);
    t.true(regions.includes('eusc-de-east-1'));
    for (const region of [...regions, 'nz-north-1']) {
      const [entry] = await listedOrganizations([{ name: 'x', region }]);
      const fault = entry !== undefined && 'fault' in entry ? describeError(entry.fault) : '';
      if (region.includes('gov'))
        t.regex(fault, /GovCloud, .* commercial account that pays/, region);
      else t.is(fault, '', region);
    }
  },
);

test.serial('an organization of the European Sovereign Cloud is fetched', async (t) => {
  const globalRegion = 'eusc-de-east-1';
  const { run, data, cloud } = await bench(t, { globalRegion });
  const used = structuredClone(data.secret);
  t.teardown(() => Object.assign(data.secret, used));
  await t.throwsAsync(run(), { message: /refused the signature/ });
  data.secret['aws_region_name'] = globalRegion;
  t.like(await run(), { state: 'done', customers: 131 });
  t.true(cloud.requests.some(({ operation, ok }) => operation === 'AssumeRole' && ok));
});

test.serial(
  'an access key that STS does not know may be one of a region that is not enabled',
  async (t) => {
    const { run, cloud, data } = await bench(t);
    const used = structuredClone(data.secret);
    t.teardown(() => Object.assign(data.secret, used));
    cloud.faults.push({
      service: 'sts',
      kind: 'error',
      status: 403,
      code: 'InvalidClientTokenId',
      times: Infinity,
    });
    const says = async (region: string): Promise<string> => {
      data.secret['aws_region_name'] = region;
      return describeError(await t.throwsAsync(run(), { instanceOf: ConfigurationError }));
    };
    t.regex(
      await says('eu-south-2'),
      /deleted or inactive, or the region eu-south-2 is not enabled for this account; use us-east-1 \(aws_region_name in the Vault secret\)$/,
    );
    t.regex(await says('us-east-1'), /deleted or inactive$/);
    t.regex(
      await says('eusc-de-east-1'),
      /deleted or inactive, or of another partition than the region eusc-de-east-1 \(aws_region_name/,
    );
  },
);
