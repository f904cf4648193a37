import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import type { TestServer } from '../support/mariadb.js';
import { querySqlite } from '../support/sqlite.js';
import { mustHaveRows, parquetContent } from './compare.js';
import { comparedLoads, createTables } from './databases.js';
import type { Measured, Rounds } from './measure.js';
import { alternate, measure, pipeline } from './measure.js';
import type { MonthSize } from './month.js';
import { month, rowsOf } from './month.js';
import { withStandIn } from './stand-in.js';
import type { Row } from './table.js';
import { describeFigures } from './table.js';

const oneByOne = ['extract', 'transform', 'load'].map((stage) => ['--stage', stage]);

/** All stages in one run into MariaDB, beside the three run one by one. `source` holds a generated month. */
export async function benchWholeRun(
  server: TestServer,
  source: string,
  size: MonthSize,
  rounds: Rounds,
  home: string,
): Promise<Row[]> {
  const rows = rowsOf(size);
  const ours = await createTables(server);
  const byStage = await createTables(server);
  const compared = comparedLoads(server, 'whole run and stages', rows);
  const figures = await withStandIn(source, 0, (environment) => {
    const runs = async (
      database: string,
      commands: readonly (readonly string[])[],
    ): Promise<Measured> => {
      const staging = await mkdtemp(join(home, 'run-'));
      const env = { ...environment, PIPELINE_DATABASE: database };
      const common = ['--month', month, '--staging', staging, '--force'];
      const measured: Measured[] = [];
      for (const flags of commands)
        measured.push(await measure(pipeline(['run', ...flags, ...common], { cwd: home, env })));
      await rm(staging, { recursive: true });
      return together(measured);
    };
    return alternate(rounds, {
      ours: () => compared(ours, () => runs(ours, [[]])),
      stages: () => compared(byStage, () => runs(byStage, oneByOne)),
    });
  });
  return [
    {
      stage: 'whole run',
      work: `${rows.toLocaleString('en-US')} rows, from the stand-in cloud without latency to MariaDB`,
      beside: 'the three stages one by one',
      bound: 'most',
      target: 0.9,
      ratio: figures.ours.seconds / figures.stages.seconds,
      ours: describeFigures(figures.ours, rows),
      theirs: describeFigures(figures.stages, rows),
    },
  ];
}

function together(runs: readonly Measured[]): Measured {
  const cpus = runs.flatMap(({ cpu }) => (cpu === undefined ? [] : [cpu]));
  const peaks = runs.flatMap(({ peak }) => (peak === undefined ? [] : [peak]));
  return {
    seconds: runs.reduce((sum, { seconds }) => sum + seconds, 0),
    cpu: cpus.length === 0 ? undefined : cpus.reduce((sum, cpu) => sum + cpu, 0),
    peak: peaks.length === 0 ? undefined : Math.max(...peaks),
    stdout: '',
  };
}

/** Longest that a real month may take: in seconds, and beside Node's own start. */
const REAL_MONTH = { seconds: 1, starts: 15 };

/** The demo's month from its stand-in cloud, which answers at once, into SQLite: what most runs are. */
export async function benchRealMonth(rounds: Rounds, home: string): Promise<Row[]> {
  const cloud = await startCloud({ data: demoData({ months: [month] }) });
  let rows = 0;
  try {
    const { node, ours } = await alternate(rounds, {
      node: () => measure({ program: process.execPath, args: ['-e', '0'] }),
      ours: async () => {
        const cwd = await mkdtemp(join(home, 'real-month-'));
        const measured = await measure(
          pipeline(['run', '--month', month], { cwd, env: cloud.environment }),
        );
        const [loaded] = querySqlite(
          join(cwd, 'billing.sqlite'),
          'SELECT count(*) AS n FROM consumption',
        );
        rows = Number(loaded?.['n']);
        const files = `${cwd}/staging/parquet/consumption/month=${month}/*.parquet`;
        mustHaveRows('a real month', await parquetContent(files), rows);
        await rm(cwd, { recursive: true });
        return measured;
      },
    });
    const took = { stage: 'whole run', bound: 'most', ours: describeFigures(ours, rows) } as const;
    return [
      {
        ...took,
        work: `a real month, ${rows.toLocaleString('en-US')} rows: all stages of the demo's four organizations without latency, into SQLite`,
        beside: `${REAL_MONTH.seconds} s`,
        target: 1,
        ratio: ours.seconds / REAL_MONTH.seconds,
        theirs: `${REAL_MONTH.seconds.toFixed(2)} s`,
      },
      {
        ...took,
        work: 'the same real month',
        beside: '`node -e 0`',
        target: REAL_MONTH.starts,
        ratio: ours.seconds / node.seconds,
        theirs: describeFigures(node),
      },
    ];
  } finally {
    await cloud.close();
  }
}
