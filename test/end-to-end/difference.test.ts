import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type { CloudData, LineItem } from '../../fixtures/demo/data.js';
import {
  costMetrics,
  demoData,
  monthData,
  organizationData,
  restate,
} from '../../fixtures/demo/data.js';
import type { ServiceTotals } from '../../pipeline/shared/sums.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import { addToService, serviceDifferences } from '../../pipeline/shared/sums.js';
import { querySqlite } from '../support/sqlite.js';
import { month, world } from '../support/world.js';

const all = (amount: string): LineItem['costs'] => {
  const { units } = parseAmount(amount);
  return Object.fromEntries(costMetrics.map((metric) => [metric, units])) as LineItem['costs'];
};

/** AWS's total is 74.6346, its groups by account are 45.6346: no account bears the support. */
function prorated(support: Partial<LineItem>[] = [{ costs: all('29') }]): CloudData {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 3 }] });
  const [model] = monthData(data, 'oab', month).items;
  const { account } = model!;
  const usage = { ...model!, service: 'Amazon S3', usageType: 'Bytes', region: 'eu-west-3' };
  restate(data, 'oab', month, () => [
    { ...usage, account, costs: all('40.6346') },
    { ...usage, account, service: 'AWS Lambda', usageType: 'Request', costs: all('5') },
    ...support.map((one) => ({
      ...usage,
      account: '',
      service: 'AWS Support (Business)',
      usageType: 'Dollar',
      region: 'NoRegion',
      recordType: 'Support',
      ...one,
    })),
  ]);
  return data;
}

const names = /"AWS Support \(Business\)" \(29 USD\)/;

for (const detail of ['service', 'usage-type'] as const) {
  test(`${detail}: every message names the service that no account bears`, async (t) => {
    const { run, cloud, folder, charged } = await world(t, { data: prorated() });
    const select = ['--month', month, '--detail', detail];
    const ran = await run('run', ...select);
    t.is(ran.code, 3);
    t.regex(
      ran.stdout,
      /oab's total of 2026-10 is 74\.6346 USD by AWS, its rows add up to 45\.6346 USD: a difference of 29 USD, more than the tolerance of 0\.01; it is made by "AWS Support \(Business\)" \(29 USD\)/,
    );
    const asked = cloud.requests.filter(({ charged: paid }) => paid);
    t.like(asked.at(-1)?.input, { GroupBy: [{ Type: 'DIMENSION', Key: 'SERVICE' }] });
    t.is(asked.length, detail === 'service' ? 3 : 5);
    const whole = charged();

    const status = await run('status');
    t.regex(
      status.stdout,
      /oab: AWS's total of [\d-]+ [\d:]+ minus the rows is 29 USD; it is made by /,
    );
    t.regex(status.stdout, names);
    const planned = await run('plan', ...select);
    t.regex(planned.stdout, names);
    const loaded = await run('run', ...select, '--stage', 'load');
    t.regex(loaded.stdout, names);
    t.is(charged(), whole, 'what is staged was paid for again');

    // A manifest that says something else than the staged answer is told as such.
    const [file = ''] = (await readdir(join(folder, 'staging/raw'), { recursive: true })).filter(
      (name) => name.endsWith('/manifest.json'),
    );
    const path = join(folder, 'staging/raw', file);
    const manifest = await readFile(path, 'utf8');
    await writeFile(path, manifest.replace('"difference": "29"', '"difference": "28"'));
    const altered = await run('run', ...select, '--stage', 'transform', '--force');
    t.regex(
      altered.stdout,
      /AWS's cost by service as staged is .*"29".*, its manifest says .*"28"/,
    );
    await writeFile(path, manifest);

    // Within the tolerance it is loaded, and the next extraction does not ask by service.
    t.is((await run('run', ...select, '--tolerance', '29')).code, 0);
    const reconciled = await run('reconcile');
    t.is(reconciled.code, 3);
    t.regex(reconciled.stdout, names);
    t.is((await run('reconcile', '--tolerance', '29')).code, 0);
    t.is((await run('run', ...select, '--tolerance', '29', '--force')).code, 0);
    t.is(charged(), 2 * whole - 1);
    t.regex((await run('reconcile')).stdout, /which services make it was not asked for/);
  });
}

test('the question is planned as at most, and the plan of a month that needed it counts it so', async (t) => {
  const { run, charged } = await world(t, { data: prorated() });
  const select = ['--month', month];
  const first = JSON.parse((await run('plan', ...select, '--json')).stdout) as object;
  t.like(first, { requests: 2, requestsAtMost: null, requestsKnown: false });
  await run('run', ...select);
  const again = await run('plan', ...select, '--force');
  t.regex(again.stdout, /2 to 3 +\$0\.02 to \$0\.03/);
  t.regex(
    again.stdout,
    /total: 2 Cost Explorer requests, \$0\.02; at most 3, \$0\.03, where AWS's total differs/,
  );
  t.like(JSON.parse((await run('plan', ...select, '--force', '--json')).stdout), {
    requests: 2,
    requestsAtMost: 3,
  });
  t.like(JSON.parse((await run('plan', ...select, '--force', '--no-aws-total', '--json')).stdout), {
    requests: 1,
    requestsAtMost: 1,
  });
  t.is(charged(), 3);
  // Stopped before the last question, only that is left, and it is paid for once.
  t.is((await run('run', ...select, '--force', '--max-requests', '2')).code, 4);
  t.like(JSON.parse((await run('plan', ...select, '--force', '--json')).stdout), {
    requests: 1,
    requestsAtMost: 1,
  });
  const stopped = await run('run', ...select, '--force', '--stage', 'extract');
  t.is(stopped.code, 0, stopped.stdout);
  t.is(charged(), 6);
});

test('a difference by another metric alone is told by its services too', async (t) => {
  const costs = { ...all('0'), NetUnblendedCost: parseAmount('-3.5').units };
  const { run } = await world(t, { data: prorated([{ costs }]) });
  const ran = await run('run', '--month', month, '--metric', 'NetUnblendedCost');
  t.regex(
    ran.stdout,
    /oab's NetUnblendedCost of 2026-10 .* a difference of -3\.5 USD, .*made by "AWS Support \(Business\)" \(-3\.5 USD\)/,
  );
});

test('many services are told by the largest five; a total beside every service by none', async (t) => {
  const several = ['1', '-7', '3', '2', '5', '4', '6'].map((amount) => ({
    service: `S${amount}`,
    costs: all(amount),
  }));
  const { run } = await world(t, { data: prorated(several) });
  t.regex(
    (await run('run', '--month', month)).stdout,
    /made by "S-7" \(-7 USD\), "S6" \(6 USD\), "S5" \(5 USD\), "S4" \(4 USD\), "S3" \(3 USD\) and 2 more/,
  );
  const data = prorated([]);
  monthData(data, 'oab', month).outsideGroups = parseAmount('29').units;
  const other = await world(t, { data });
  t.regex(
    (await other.run('run', '--month', month)).stdout,
    /a difference of 29 USD, .*no service makes it: AWS's cost by service is what the rows say/,
  );
});

test('differences by service are exact, sorted, and without those that are none', (t) => {
  const amounts = fc.array(
    fc.record({
      service: fc.constantFrom('a', 'b', '__proto__', 'constructor'),
      currency: fc.constantFrom('USD', 'EUR'),
      units: fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
    }),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(amounts, amounts, (said, found) => {
      const sums = (of: typeof said): ServiceTotals => {
        const services: ServiceTotals = new Map();
        for (const { service, ...rest } of of)
          addToService(services, service, 'UnblendedCost', rest);
        return services;
      };
      const apart = serviceDifferences(sums(said), sums(found));
      const total = (of: typeof said): bigint => of.reduce((sum, { units }) => sum + units, 0n);
      const sizes = apart.map(({ difference }) => parseAmount(difference).units);
      t.is(
        sizes.reduce((sum, units) => sum + units, 0n),
        total(said) - total(found),
      );
      t.false(sizes.includes(0n));
      const absolute = sizes.map((units) => (units < 0n ? -units : units));
      t.deepEqual(
        absolute,
        absolute.toSorted((a, b) => (a > b ? -1 : 1)),
      );
    }),
  );
});

test('where the accounts may not be listed, no page of cost is paid for, however often it is tried', async (t) => {
  const { run, cloud, charged } = await world(t, { data: prorated([]) });
  cloud.faults.push({
    service: 'organizations',
    kind: 'error',
    code: 'AccessDeniedException',
    message: 'no',
    times: Infinity,
  });
  for (let tries = 0; tries < 2; tries++) {
    const ran = await run('run', '--month', month);
    t.is(ran.code, 1);
    t.regex(
      ran.stdout,
      /may not list the accounts: .*; or set aws_oab_listAccounts in the Vault secret to false/,
    );
  }
  t.is(charged(), 0);
});

for (const place of ['the Vault secret', 'the configuration file'] as const) {
  test(`listAccounts: false in ${place} takes the customers from Cost Explorer's own names`, async (t) => {
    const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 9 }] });
    const oab = organizationData(data, 'oab');
    oab.directAccess = true;
    const { run, runWith, cloud, folder } = await world(t, { data });
    cloud.faults.push({
      service: 'organizations',
      kind: 'error',
      code: 'AccessDeniedException',
      times: Infinity,
    });
    t.is((await run('run', '--month', month)).code, 1);
    let env: Record<string, string> = {};
    if (place === 'the Vault secret') data.secret['aws_oab_listAccounts'] = 'false';
    else {
      await writeFile(
        join(folder, 'pipeline.config.yaml'),
        'organizations:\n  - name: oab\n    listAccounts: false\n',
      );
      env = {
        VAULT_ADDR: '',
        AWS_ACCESS_KEY_ID: oab.accessKeyId,
        AWS_SECRET_ACCESS_KEY: oab.secretAccessKey,
        VAULT_AWS_SECRET_PATH: '',
      };
    }
    const checked = await runWith(env, 'check');
    t.regex(checked.stdout, /skipped +oab: ListAccounts +listAccounts is false/);
    const ran = await runWith(env, 'run', '--month', month);
    t.is(ran.code, 0, ran.stdout + ran.stderr);
    const rows = querySqlite(
      join(folder, 'billing.sqlite'),
      'SELECT Reference, TenantName, Email, Status, Created FROM customers ORDER BY Reference',
    );
    const charged = new Set(monthData(data, 'oab', month).items.map(({ account }) => account));
    const expected = oab.accounts
      .filter(({ id }) => charged.has(id))
      .map(({ id, name, named }) => ({
        Reference: id,
        TenantName: named ? name : '',
        Email: '',
        Status: 'unlisted',
        Created: null,
      }))
      .sort((a, b) => (a.Reference < b.Reference ? -1 : 1));
    t.true(expected.some(({ TenantName }) => TenantName !== ''));
    t.deepEqual(
      rows.map((row) => ({ ...row })),
      expected,
    );
    t.is((await runWith(env, 'reconcile')).code, 0);
    t.is(cloud.requests.filter(({ operation }) => operation === 'ListAccounts').length, 1);
    // Once they may be listed, what was fetched without them is not enough.
    cloud.faults.length = 0;
    if (place === 'the Vault secret') {
      data.secret['aws_oab_listAccounts'] = 'true';
      const planned = await run('plan', '--month', month);
      t.regex(planned.stdout, /oab +fetch/);
      t.is((await run('run', '--month', month)).code, 0);
      const [first] = querySqlite(
        join(folder, 'billing.sqlite'),
        "SELECT count(*) AS n FROM customers WHERE Status <> 'unlisted'",
      );
      t.true(Number(first?.['n']) >= 9);
    }
  });
}
