import test from 'ava';
import { demoData, organizationData } from '../../fixtures/demo/data.js';
import { expectedTotal } from '../../fixtures/demo/truth.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { month, world } from '../support/world.js';

interface Report {
  requests: number;
  tasks: { stage: string; amount: Record<string, string> }[];
}

test('an organization with a billing view is reported by it, and fetched anew when that changes', async (t) => {
  const data = demoData({ months: [month], organizations: [{ name: 'oab', accounts: 9 }] });
  const { run, cloud } = await world(t, { data });
  const own = expectedTotal(data, 'oab', month);
  const amountOf = async (...args: string[]): Promise<{ requests: number; amount: bigint }> => {
    const { code, stdout } = await run('run', '--month', month, '--json', ...args);
    t.is(code, 0, stdout);
    const { requests, tasks } = JSON.parse(stdout) as Report;
    const sums = tasks.map(({ amount }) => amount['USD']);
    t.is(new Set(sums).size, 1);
    return { requests, amount: parseAmount(sums[0]!).units };
  };
  t.is(formatAmount((await amountOf()).amount), formatAmount(own));

  const { billingViewArn } = organizationData(data, 'oab').proForma;
  data.secret['aws_oab_billingViewArn'] = billingViewArn;
  const plan = await run('plan', '--month', month, '--json');
  t.like(JSON.parse(plan.stdout), { slices: [{ stages: { extract: { action: 'fetch' } } }] });
  const proForma = await amountOf();
  t.true(proForma.requests > 1);
  // The view adds a tenth; the stand-in cuts each item to the tenth fraction digit.
  const apart = own + own / 10n - proForma.amount;
  t.true(apart > -(10n ** 14n) && apart < 10n ** 14n, formatAmount(apart));
  const asked = cloud.requests.filter(({ charged }) => charged).slice(-proForma.requests);
  for (const { input } of asked) t.like(input, { BillingViewArn: billingViewArn });
  t.is((await amountOf()).requests, 0);
  t.regex((await run('status')).stdout, /oab: tells service of billing-group-oab\n/);
  const changes = await run('changes', '--month', month, '--json');
  t.regex(
    changes.stdout,
    /"uncompared": "\w+ tells the organization's own cost, \w+ arn:aws:billing/,
  );
  t.true((await amountOf('--detail', 'usage-type')).requests > 1);

  delete data.secret['aws_oab_billingViewArn'];
  t.is(formatAmount((await amountOf()).amount), formatAmount(own));
});
