import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth, shiftMonth } from '../../pipeline/shared/month.js';
import { querySqlite } from '../support/sqlite.js';
import { mustHaveRows, parquetContent } from './compare.js';
import type { Figures, Measured, Rounds } from './measure.js';
import { alternate, measure, pipeline } from './measure.js';
import type { Row } from './table.js';
import { describeFigures, mebibytes, NO_PROC } from './table.js';

/** A staging area that has grown. */
export interface YearsPlan {
  months: number;
  organizations: number;
  /** Of each organization. */
  accounts: number;
}

/** As much as Cost Explorer keeps with multi-year data, less the month that is not over. */
export const threeYears: YearsPlan = { months: 37, organizations: 40, accounts: 5 };

/** Parts of its months at which everything is measured too. */
const SHARES = [0.25, 0.5, 1] as const;

/** Seconds and bytes that each may take at its full size. */
const MOST = { new: 45, memory: 250 * 2 ** 20, plan: 2, status: 1.5 };

type Command = 'new' | 'unchanged' | 'plan' | 'status';

interface Point {
  slices: number;
  figures: Record<Command, Figures>;
}

/**
 * What a run of many months and the commands over them take, at several sizes: all of them new, from the stand-in
 * cloud without latency into SQLite, then the same once more, `plan` and `status`.
 */
export async function benchYears(
  plan: YearsPlan,
  rounds: { new: Rounds; looks: Rounds },
  home: string,
): Promise<Row[]> {
  const points: Point[] = [];
  for (const share of SHARES) {
    const months = Math.max(1, Math.round(plan.months * share));
    points.push(await measureMonths({ ...plan, months }, rounds, home));
  }
  const whole = points.at(-1)?.figures;
  if (whole === undefined) return [];
  const size = `${plan.months} months × ${plan.organizations} organizations`;
  const row = (command: Command, name: string, work: string, seconds: number): Row => ({
    stage: 'years',
    work,
    beside: `${seconds} s`,
    bound: 'most',
    target: 1,
    ratio: whole[command].seconds / seconds,
    ours: describeFigures(whole[command]),
    theirs: `${seconds.toFixed(2)} s`,
    growth: {
      name,
      points: points.map(({ slices, figures }) => ({ slices, ...figures[command] })),
    },
  });
  const { peak } = whole.new;
  return [
    row('plan', 'plan', `\`plan\` over ${size}`, MOST.plan),
    row('status', 'status', `\`status\` over ${size}`, MOST.status),
    row(
      'new',
      'run, all new',
      `\`run\` of ${size}, all new, without latency, into SQLite`,
      MOST.new,
    ),
    {
      stage: 'years',
      work: 'the same, peak memory',
      beside: mebibytes(MOST.memory),
      bound: 'most',
      target: 1,
      ratio: peak === undefined ? undefined : peak / MOST.memory,
      ours: peak === undefined ? NO_PROC : mebibytes(peak),
      theirs: mebibytes(MOST.memory),
    },
    {
      ...row('unchanged', 'run, unchanged', `\`run\` of ${size}, unchanged`, 1),
      beside: '`plan` of the same',
      target: 2,
      ratio: whole.unchanged.seconds / whole.plan.seconds,
      theirs: describeFigures(whole.plan),
    },
  ];
}

/** Measures everything over some months; of their runs, the last one's staging area is looked at. */
async function measureMonths(
  { months: count, organizations: names, accounts }: YearsPlan,
  rounds: { new: Rounds; looks: Rounds },
  home: string,
): Promise<Point> {
  const last = parseMonth('2026-10');
  const months = Array.from({ length: count }, (_, index) => shiftMonth(last, index + 1 - count));
  const organizations = Array.from({ length: names }, (_, index) => ({
    name: `org${String(index + 1).padStart(2, '0')}`,
    accounts,
  }));
  const data = demoData({ months, organizations });
  for (const organization of data.organizations) organization.multiYear = true;
  const slices = count * names;
  const range = ['--from', months[0] ?? last, '--to', last];
  const cloud = await startCloud({ data });
  let cwd = '';
  const command = async (args: readonly string[], start = ''): Promise<Measured> => {
    const measured = await measure(pipeline(args, { cwd, env: cloud.environment }));
    if (!measured.stdout.startsWith(start))
      throw new Error(`${args.join(' ')} says not "${start}" but ${measured.stdout.slice(0, 200)}`);
    return measured;
  };
  try {
    const fetched = await alternate(rounds.new, {
      new: async () => {
        if (cwd !== '') await rm(cwd, { recursive: true });
        cwd = await mkdtemp(join(home, 'years-'));
        return command(['run', ...range], `${3 * slices} done`);
      },
    });
    const [loaded] = querySqlite(
      join(cwd, 'billing.sqlite'),
      'SELECT count(*) AS n FROM consumption',
    );
    const files = `${cwd}/staging/parquet/consumption/month=*/*.parquet`;
    mustHaveRows('years of months', await parquetContent(files), Number(loaded?.['n']));
    const looked = await alternate(rounds.looks, {
      plan: () => command(['plan', ...range]),
      status: () => command(['status']),
      unchanged: () => command(['run', ...range], `${3 * slices} unchanged`),
    });
    return { slices, figures: { ...fetched, ...looked } };
  } finally {
    await cloud.close();
    if (cwd !== '') await rm(cwd, { recursive: true, force: true });
  }
}
