import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from '../../pipeline/run/resources.js';
import { localStaging } from '../../pipeline/staging/local.js';
import { benchCommand } from './command.js';
import { benchDetail } from './detail.js';
import { startBenchServer } from './databases.js';
import type { ExtractPlan } from './extract.js';
import { benchExtract } from './extract.js';
import { generateMonth } from './generate.js';
import { benchLoadMysql, benchLoadNamed } from './load-mysql.js';
import { benchLoadSqlite } from './load-sqlite.js';
import type { Rounds } from './measure.js';
import type { MonthSize } from './month.js';
import type { QueuePlan } from './queue.js';
import { benchQueue } from './queue.js';
import { benchReport } from './report.js';
import type { Row } from './table.js';
import { benchTenfold, benchTransform, runTransform } from './transform.js';
import { benchRealMonth, benchWholeRun } from './whole-run.js';
import type { YearsPlan } from './years.js';
import { benchYears } from './years.js';

/** The groups of rows, in the table's order. */
export const groups = [
  'transform',
  'detail',
  'tenfold',
  'load-mysql',
  'load-sqlite',
  'extract',
  'queue',
  'run',
  'month',
  'years',
  'report',
  'command',
] as const;
export type GroupName = (typeof groups)[number];

/** Groups that are no rows of the table, as they take minutes: measured where they are named alone. */
export const apart: readonly GroupName[] = ['queue', 'report'];

export interface BenchPlan {
  size: MonthSize;
  /** The month for the growth of time and memory. */
  tenfold: MonthSize;
  /** Accounts of the month by usage type and by service. */
  detailAccounts: number;
  extract: ExtractPlan;
  queue: QueuePlan;
  /** The large month that a report is made of. */
  report: MonthSize;
  years: YearsPlan;
  /** A `mysqld`, by its file's name: loads are measured into that MySQL too. */
  mysqld: string | undefined;
  only: readonly GroupName[];
  /** How often each side runs; the tenfold month half as often, the queue and years of months a fifth, and a command three times as often. */
  rounds: number;
  say: (line: string) => void;
}

/**
 * Measures the groups and compares all results.
 * @throws {Error} when a process fails, or the rows or sums of two sides differ.
 */
export async function bench(plan: BenchPlan): Promise<Row[]> {
  const { size, only, say } = plan;
  const times = (factor: number): Rounds => ({ count: Math.ceil(plan.rounds * factor), say });
  const rounds = times(1);
  const home = await mkdtemp(join(tmpdir(), 'billing-bench-'));
  const staging = join(home, 'staging');
  await mkdir(staging);
  const generated = once(() => generateMonth(localStaging(staging), size));
  const transformed = once(async () => {
    await generated();
    await runTransform(staging);
  });
  const server = once(startBenchServer);
  const measures: Record<GroupName, () => Promise<Row[]>> = {
    'transform': async () => {
      await generated();
      return benchTransform(staging, size, rounds, home);
    },
    'detail': () => benchDetail(plan.detailAccounts, rounds, home),
    'tenfold': async () => {
      await generated();
      return benchTenfold(staging, size, plan.tenfold, times(0.5), home);
    },
    'load-mysql': async () => {
      await transformed();
      const { mysqld } = plan;
      return [
        ...(await benchLoadMysql(await server(), staging, size, rounds, home)),
        ...(mysqld === undefined ? [] : await benchLoadNamed(mysqld, staging, size, rounds, home)),
      ];
    },
    'load-sqlite': async () => {
      await transformed();
      return benchLoadSqlite(staging, size, rounds, home);
    },
    'extract': () => benchExtract(plan.extract, rounds, home),
    'queue': () => benchQueue(plan.queue, times(0.2), home),
    'run': async () => {
      await generated();
      return benchWholeRun(await server(), staging, size, rounds, home);
    },
    'month': () => benchRealMonth(rounds, home),
    'years': () => benchYears(plan.years, { new: times(0.2), looks: times(0.6) }, home),
    'report': () => benchReport(plan.report, rounds, home),
    'command': () => benchCommand(times(3), home),
  };
  try {
    const rows: Row[] = [];
    for (const group of groups.filter((name) => only.includes(name))) {
      say(group);
      rows.push(...(await measures[group]()));
    }
    return rows;
  } finally {
    await server.ifOpened((started) => started.stop());
    await rm(home, { recursive: true, force: true });
  }
}
