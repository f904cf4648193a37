import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cloud } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData, monthData, restate } from '../../fixtures/demo/data.js';
import { charge, costs, units } from '../../fixtures/demo/model.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { pipeline } from '../support/cli.js';
import { clockOffBy } from '../support/shift-clock.js';

/** What the README and the docs show of the command's output: real runs against the stand-in cloud. */

/** A month-end as a user lives it: the month, and the days on which it is run. */
const former = parseMonth('2026-09');
const month = parseMonth('2026-10');
const days = {
  early: '2026-11-02T06:00:00Z',
  late: '2026-11-08T06:00:00Z',
  final: '2026-11-15T06:00:00Z',
};

/** A command as the docs show it, and what it printed. */
export interface Sample {
  command: string;
  output: string;
}

/** What the commands print and make. */
export interface Samples {
  /** The demo, for its picture. */
  demo: Sample;
  /** The page that it made, without the instants of this run. */
  page: string;
  /** The others, by the name of their part. */
  parts: Record<string, Sample>;
}

/** Runs the commands anew, each at its day. */
export async function makeSamples(): Promise<Samples> {
  const folder = await mkdtemp(join(tmpdir(), 'billing-docs-'));
  const data = demoData({ months: [former, month] });
  const cloud = await startCloud({ data });
  try {
    const sample = async (
      day: keyof typeof days,
      command: string,
      cwd = folder,
    ): Promise<Sample> => ({
      command: `npx pipeline ${command}`,
      output: asOnAnyMachine(await runAt(days[day], command.split(' '), cwd, cloud), folder, cloud),
    });
    const demo = await sample('final', 'demo');
    const page = await readFile(join(folder, `demo/report/${month}/index.html`), 'utf8');
    const invoices = await sample('final', 'invoices --month 2026-10 --staging demo/staging');
    await sample('early', 'run --month 2026-09');
    const plan = await sample('early', 'plan');
    const check = await sample('early', 'check --organization oab');
    await sample('early', 'run');
    const supportFee = { account: '', service: 'AWS Support (Business)', usageType: 'Dollar' };
    const { items } = monthData(data, 'oab', month);
    const dear = items.find(({ costs: { UnblendedCost } }) => UnblendedCost > units('100'));
    if (dear === undefined) throw new Error('the month has no item to credit');
    restate(data, 'oab', month, (all) => [
      ...all,
      charge(
        { ...supportFee, account: dear.account, region: 'global', day: 31 },
        'Support',
        costs(units('312.4'), 0),
      ),
      charge(
        { ...dear, usageType: 'Credit', region: 'NoRegion' },
        'Credit',
        costs(units('-25'), 0),
      ),
    ]);
    await sample('late', 'run');
    const changes = await sample('late', 'changes --month 2026-10');
    const reconcile = await sample('late', 'reconcile --month 2026-10 --organization oab');
    return {
      demo: { command: 'npm run demo', output: tableOf(demo.output) },
      page: page.replaceAll(/T[\d:.]+Z/g, 'T00:00:00.000Z'),
      parts: { plan, check, changes, reconcile, 'demo-invoices': invoices },
    };
  } finally {
    await cloud.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function runAt(
  instant: string,
  args: readonly string[],
  cwd: string,
  cloud: Cloud,
): Promise<string> {
  const env = { ...cloud.environment, ...clockOffBy(Date.parse(instant) - Date.now()) };
  const { code, stdout, stderr } = await pipeline(args, { cwd, env });
  if (code !== 0) throw new Error(`${args.join(' ')} at ${instant} failed: ${stdout}${stderr}`);
  return stdout;
}

/** The last run's summary with its table, and the report: what a newcomer looks at first. */
function tableOf(output: string): string {
  const [summary = '', table = '', ...further] = output.trimEnd().split('\n\n');
  return `${[summary, table, further.at(-1)].join('\n\n')}\n`;
}

/** The output without what differs from one machine to the next: folders, ports. */
function asOnAnyMachine(output: string, folder: string, cloud: Cloud): string {
  return (
    output
      .replaceAll(folder, '/var/lib/billing')
      .replaceAll(cloud.url, 'https://vault.example.com:8200')
      // Where the stand-in is found.
      .replaceAll(', AWS_ENDPOINT_URL', '')
  );
}

/** The output with every duration and time of day masked, to compare what two runs printed. */
export function withoutTimes(output: string): string {
  return output
    .replaceAll(/ +\d+\.\d$/gm, ' S')
    .replaceAll(/; \d+\.\d s$/gm, '; S s')
    .replaceAll(/\b\d\d:\d\d\b/g, 'HH:MM')
    .replaceAll(/T\d{6}Z/g, 'THHMMSSZ');
}
