import test from 'ava';
import type { Fault } from '../../fixtures/cloud/cloud.js';
import { monthData, organizationData } from '../../fixtures/demo/data.js';
import {
  ConfigurationError,
  InterruptedError,
  TransientError,
  describeError,
} from '../../pipeline/shared/errors.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { transform } from '../../transform/transform.js';
import { literal, query } from '../support/duckdb.js';
import {
  OTHER_MONTH,
  bench,
  data,
  keysOf,
  secretsOf,
  setEnvironment,
  textOf,
} from '../support/extract.js';
import { pathOf, taskOf } from '../support/transform.js';

interface Failure {
  name: string;
  fault: Fault;
  kind: typeof ConfigurationError | typeof TransientError;
  says: RegExp;
}

const ce = { service: 'cost-explorer', times: Infinity } as const;
const organizations = { service: 'organizations', times: Infinity } as const;
const sts = { service: 'sts', times: Infinity } as const;

const failures: Failure[] = [
  {
    name: 'STS is off in the region',
    fault: { ...sts, kind: 'error', status: 403, code: 'RegionDisabledException' },
    kind: ConfigurationError,
    says: /STS is not switched on in eu-west-3 \[AssumeRole, organization oab\]/,
  },
  {
    name: 'STS throttles on and on',
    fault: { ...sts, kind: 'throttle' },
    kind: TransientError,
    says: /still throttles the request after 2 tries \[AssumeRole, organization oab\]; wait/,
  },
  {
    name: "the role's account is not the management account",
    fault: {
      ...organizations,
      kind: 'error',
      code: 'AccessDeniedException',
      message: "You don't have permissions to access this resource.",
    },
    kind: ConfigurationError,
    says: /role\/billing-read may not list the accounts: .* \[ListAccounts, organization oab\]; allow .* management account/,
  },
  {
    name: 'the account is in no organization',
    fault: { ...organizations, kind: 'error', code: 'AWSOrganizationsNotInUseException' },
    kind: ConfigurationError,
    says: /belongs to no organization .*aws_oab_roleArn/,
  },
  {
    name: 'Organizations throttles on and on',
    fault: { ...organizations, kind: 'throttle' },
    kind: TransientError,
    says: /still throttles the request after 2 tries \[ListAccounts, organization oab\]/,
  },
  {
    name: 'the role may not ask Cost Explorer',
    fault: {
      ...ce,
      kind: 'error',
      code: 'AccessDeniedException',
      message: 'User not enabled for cost explorer access',
    },
    kind: ConfigurationError,
    says: /may not ask Cost Explorer: User not enabled .* \[GetCostAndUsage, organization oab, 2026-10\]; allow the role ce:GetCostAndUsage/,
  },
  {
    name: 'Cost Explorer has no data yet',
    fault: { ...ce, kind: 'error', code: 'DataUnavailableException' },
    kind: TransientError,
    says: /no data for the month yet .*try again later/,
  },
  {
    name: 'Cost Explorer throttles on and on',
    fault: { ...ce, kind: 'throttle', afterRequests: 2 },
    kind: TransientError,
    says: /still throttles the request after 2 tries \[GetCostAndUsage, organization oab, 2026-10\]/,
  },
  {
    name: 'the service fails',
    fault: { ...ce, kind: 'status', status: 503 },
    kind: TransientError,
    says: /AWS failed with status 503 after 2 tries/,
  },
  {
    name: 'a proxy answers in place of the service',
    fault: { ...ce, kind: 'status', status: 200 },
    kind: TransientError,
    says: /answer could not be read/,
  },
  {
    name: 'the connection is cut in the middle of the body',
    fault: { ...ce, kind: 'cut' },
    kind: TransientError,
    says: /could not be reached \(ECONNRESET\)|could not be read/,
  },
  {
    name: "the organization's own billing view is not healthy",
    fault: {
      ...ce,
      kind: 'error',
      code: 'BillingViewHealthStatusException',
      message: 'The billing view status must be HEALTHY',
    },
    kind: TransientError,
    says: /^the organization's own billing view is not healthy, .* \[GetCostAndUsage, organization oab, 2026-10\]; once it is HEALTHY, run the same command again/,
  },
  {
    name: 'the report of the month expires between its pages',
    fault: { ...ce, kind: 'error', code: 'BillExpirationException', afterRequests: 2 },
    kind: TransientError,
    says: /no longer honours the continuation token \[GetCostAndUsage, organization oab, 2026-10\]/,
  },
  {
    name: 'something that AWS may invent tomorrow',
    fault: { ...ce, kind: 'error', code: 'NovelException', message: 'too  new\nfor us' },
    kind: ConfigurationError,
    says: /AWS refused the request: too new for us \(NovelException\)/,
  },
];

for (const { name, fault, kind, says } of failures) {
  test.serial(`failure: ${name}`, async (t) => {
    const { run, cloud, staging, lines } = await bench(t);
    cloud.faults.push({ ...fault });
    const error = await t.throwsAsync(run(), { instanceOf: kind });
    t.regex(describeError(error), says);
    t.false((await keysOf(staging)).some((key) => key.endsWith('manifest.json')));
    for (const secret of secretsOf(data))
      t.false(`${describeError(error)}${lines.join('')}`.includes(secret));
    cloud.faults.length = 0;
    t.is((await run()).state, 'done');
  });
}

for (const [service, operation, wrong] of [
  ['cost-explorer', 'GetCostAndUsage', ['{"ResultsByTime":null}', '{"ResultsByTime":"x"}']],
  ['organizations', 'ListAccounts', ['{"Accounts":null}', '{"Accounts":[]}']],
] as const) {
  test.serial(
    `a success that is no answer of ${operation} passes, and nothing is staged`,
    async (t) => {
      const { run, cloud, staging } = await bench(t);
      for (const body of [
        '',
        '{}',
        'null',
        '[]',
        '5',
        '{"__type":"InternalServerException"}',
        ...wrong,
      ]) {
        cloud.faults.push({ service, kind: 'body', body, times: Infinity });
        const error = await t.throwsAsync(run(), { instanceOf: TransientError }, body);
        t.true(error.message.startsWith(`not an answer of ${operation}: `), error.message);
        const file = service === 'organizations' ? '/accounts-' : '/cost-and-usage-';
        const keys = await keysOf(staging);
        t.false(keys.some((key) => key.includes(file) || key.endsWith('manifest.json')));
        cloud.faults.length = 0;
      }
      t.is((await run()).state, 'done');
    },
  );
}

test.serial(
  'failure: a wrong secret access key, an unknown access key, an untrusted role',
  async (t) => {
    const wrong = structuredClone(data);
    const { run } = await bench(t, { data: wrong });
    const { secret } = wrong;
    const [oab, other] = wrong.organizations;
    secret['aws_oab_secret_access_key'] = 'not-the-one';
    t.regex(
      describeError(await t.throwsAsync(run(), { instanceOf: ConfigurationError })),
      /refused the signature of the access key \[AssumeRole, organization oab\]; check aws_oab_secret_access_key/,
    );
    secret['aws_oab_access_key_id'] = 'AKIAUNKNOWN';
    t.regex(
      describeError(await t.throwsAsync(run(), { instanceOf: ConfigurationError })),
      /does not know the access key \[AssumeRole, organization oab\]; check aws_oab_access_key_id/,
    );
    secret['aws_oab_access_key_id'] = oab!.accessKeyId;
    secret['aws_oab_secret_access_key'] = oab!.secretAccessKey;
    secret['aws_oab_roleArn'] = other!.roleArn;
    t.regex(
      describeError(await t.throwsAsync(run(), { instanceOf: ConfigurationError })),
      new RegExp(`may not assume ${other!.roleArn}: .*trust policy`),
    );
    secret['aws_oab_roleArn'] = oab!.roleArn;
    t.is((await run()).state, 'done');
  },
);

test.serial('failure: a month that Cost Explorer no longer keeps', async (t) => {
  const { run } = await bench(t);
  const slice = { month: parseMonth('2024-01'), organization: 'oab' };
  t.regex(
    describeError(await t.throwsAsync(run({ slice }), { instanceOf: ConfigurationError })),
    /refuses the month: You haven't enabled historical data beyond 14 months .*2024-01\]; it keeps the current month and the 13 before it/,
  );
});

test.serial('failure: a request that never answers is given up', async (t) => {
  const { run, cloud, open } = await bench(t);
  // Nothing answers at all, so that no good answer can come too late on a slow machine.
  cloud.faults.push({ service: 'sts', kind: 'hang', times: Infinity });
  const error = await t.throwsAsync(run({ source: () => open('oab', 200) }), {
    instanceOf: TransientError,
  });
  t.regex(describeError(error), /no answer within 0\.2 s after 2 tries.*AssumeRole/);
});

test.serial('failure: AWS out of reach', async (t) => {
  const { run, cloud } = await bench(t);
  setEnvironment(t, { AWS_ENDPOINT_URL_ORGANIZATIONS: 'http://127.0.0.1:1' });
  const error = await t.throwsAsync(run(), { instanceOf: TransientError });
  t.regex(
    describeError(error),
    /could not be reached \(ECONNREFUSED\).*ListAccounts.*AWS_ENDPOINT_URL/,
  );
  t.true(cloud.requests.length > 0);
});

test.serial('Ctrl-C ends a request that hangs at once, and the next run goes on', async (t) => {
  const { run, cloud, requests } = await bench(t);
  cloud.faults.push({ service: 'cost-explorer', kind: 'hang', afterRequests: 2 });
  const controller = new AbortController();
  const arrived = cloud.arrival(() => requests('GetCostAndUsage').length === 3);
  void arrived.then(() => {
    controller.abort();
  });
  await t.throwsAsync(run({ signal: controller.signal }), { instanceOf: InterruptedError });
  const { requests: paid } = await run();
  t.is(requests('GetCostAndUsage').filter(({ charged }) => charged).length, 2 + paid);
});

test.serial('a run that is interrupted before it began asks nothing', async (t) => {
  const { run, cloud } = await bench(t);
  await t.throwsAsync(run({ signal: AbortSignal.abort() }), { instanceOf: InterruptedError });
  t.is(cloud.requests.length, 0);
});

test.serial(
  'an organization whose secret has a fault fails with that fault, asking nothing',
  async (t) => {
    const { run, cloud } = await bench(t);
    const fault = new ConfigurationError('key aws_oab_roleArn is missing');
    const error = await t.throwsAsync(run({ source: () => Promise.reject(fault) }));
    t.is(error, fault);
    t.is(cloud.requests.length, 0);
  },
);

test.serial('failure: a billing view that is not healthy, until it is', async (t) => {
  const own = structuredClone(data);
  const { proForma } = organizationData(own, 'oab');
  const { billingViewArn } = proForma;
  own.secret['aws_oab_billingViewArn'] = billingViewArn;
  const { run, requests, staging } = await bench(t, { data: own });
  const scope = { ...plainScope, billingViewArn };
  for (const health of ['CREATING', 'UPDATING', 'UNHEALTHY'] as const) {
    proForma.health = health;
    const error = await t.throwsAsync(run({ scope }), { instanceOf: TransientError });
    t.is(
      error.message,
      `the billing view ${billingViewArn} is not healthy, so Cost Explorer does not serve it`,
    );
    t.is(error.where, 'GetCostAndUsage, organization oab, 2026-10');
    t.is(
      error.next,
      `see its status and reason with "aws billing get-billing-view --arn ${billingViewArn}" (aws_oab_billingViewArn in the Vault secret); once it is HEALTHY, run the same command again: it goes on from what is staged`,
    );
  }
  // Each was asked once: the SDK does not try such a refusal again, and nothing was paid.
  t.is(requests('GetCostAndUsage').length, 3);
  t.false(requests('GetCostAndUsage').some(({ charged }) => charged));
  proForma.health = 'HEALTHY';
  t.is((await run({ scope })).state, 'done');
  t.is((await keysOf(staging)).filter((key) => key.endsWith('manifest.json')).length, 1);
});

test.serial('failure: a month whose report has expired, and another that has not', async (t) => {
  const own = structuredClone(data);
  monthData(own, 'oab', OTHER_MONTH).expired = true;
  const { run, requests } = await bench(t, { data: own });
  const slice = { month: OTHER_MONTH, organization: 'oab' };
  const error = await t.throwsAsync(run({ slice }), { instanceOf: ConfigurationError });
  t.regex(
    describeError(error),
    /^Cost Explorer no longer has the month: The requested report expired\. Update the date interval and try again\. \(BillExpirationException\) \[GetCostAndUsage, organization oab, 2026-09\]; it keeps the current month and the 13 before it/,
  );
  t.false(requests('GetCostAndUsage').some(({ charged }) => charged));
  t.is((await run()).state, 'done');
});

test.serial(
  'a report that expired between its pages is asked for afresh by the next run',
  async (t) => {
    const { run, cloud, requests, lines } = await bench(t);
    const expired = {
      service: 'cost-explorer',
      kind: 'error',
      code: 'BillExpirationException',
    } as const;
    cloud.faults.push({ ...expired, afterRequests: 2, times: 2 });
    await t.throwsAsync(run(), { instanceOf: TransientError });
    t.like(await run(), { state: 'done', customers: 131 });
    t.true(lines.some((line) => line.includes('so the month is fetched afresh')));
    const tokens = requests('GetCostAndUsage').map(({ token }) => token);
    // Twice up to the third page, of which the second time only that one is asked for; then from the first on.
    t.deepEqual(
      tokens.slice(0, 5).map((token) => token !== undefined),
      [false, true, true, true, false],
    );
    t.is(tokens[2], tokens[3]);
  },
);

test.serial(
  'failure: Organizations that no longer honours its token, which helps next time',
  async (t) => {
    const own = structuredClone(data);
    const oab = organizationData(own, 'oab');
    const { id } = oab;
    // The token of the first page belongs to an organization that is another one now.
    const { run, requests } = await bench(t, {
      data: own,
      onRequest: () => {
        oab.id = requests('ListAccounts').length === 2 ? 'o-another000' : id;
      },
    });
    const error = await t.throwsAsync(run(), { instanceOf: TransientError });
    t.regex(
      describeError(error),
      /no longer honours the continuation token of the accounts \[ListAccounts, organization oab\]; run the same command again/,
    );
    // The cost that was fetched beside the list stays.
    const paid = requests('GetCostAndUsage').length;
    t.true(paid > 5);
    t.like(await run(), { state: 'done', customers: 131 });
    t.is(requests('GetCostAndUsage').length, paid);
  },
);

test.serial(
  'accounts with a state alone, with paths, and with neither state nor status are staged as they came',
  async (t) => {
    const own = structuredClone(data);
    const oab = organizationData(own, 'oab');
    const listed = oab.accounts.filter((account) => account.listed);
    const states = [
      'PENDING_ACTIVATION',
      'ACTIVE',
      'SUSPENDED',
      'PENDING_CLOSURE',
      'CLOSED',
    ] as const;
    for (const [index, state] of states.entries()) listed[index]!.state = state;
    delete listed[5]!.state;
    delete listed[6]!.state;
    listed[6]!.status = 'SUSPENDED';
    const { run, staging } = await bench(t, { data: own });
    const { extraction, customers } = await run();
    t.is(customers, listed.length);
    const page = JSON.parse(
      await textOf(staging, `raw/month=2026-10/oab/${extraction}/accounts-00001.json`),
    ) as { Accounts: { State?: string; Status?: string; Paths: string[] }[] };
    t.deepEqual(
      page.Accounts.slice(0, 7).map(({ State, Status }) => [State, Status]),
      [
        ...states.map((state) => [state, undefined]),
        [undefined, undefined],
        [undefined, 'SUSPENDED'],
      ],
    );
    for (const [index, { Paths }] of page.Accounts.entries())
      t.true(Paths[0]?.endsWith(`/${listed[index]!.id}/`));
    // And so the tables tell them, without a name of a state that AWS did not give.
    await transform(taskOf(staging));
    const rows = await query(
      `SELECT Reference, Status FROM read_parquet(${literal(pathOf(staging, 'parquet', 'customers'))})`,
    );
    const statusOf = new Map(rows.map(({ Reference, Status }) => [Reference, Status]));
    t.deepEqual(
      listed.slice(0, 7).map(({ id }) => statusOf.get(id)),
      ['pending_activation', 'active', 'suspended', 'pending_closure', 'closed', '', 'suspended'],
    );
  },
);
