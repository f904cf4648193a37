import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { localStaging } from '../../pipeline/staging/local.js';
import { stagedSlices } from '../../pipeline/staging/extractions.js';
import { startWorker } from '../support/queue.js';
import { startRedis } from '../support/redis.js';
import { generateMonth } from './generate.js';
import type { Measured, Rounds } from './measure.js';
import { alternate, measure, pipeline } from './measure.js';
import type { MonthSize } from './month.js';
import { month } from './month.js';
import { withStandIn } from './stand-in.js';
import type { Row } from './table.js';
import { describeFigures } from './table.js';

export interface QueuePlan {
  payers: number;
  size: MonthSize;
  /** Pages of cost of each payer. */
  pages: number;
  latencyMs: number;
  /** Months of payers that a worker fetches at once. */
  concurrency: number;
}

/** 200 payers of 20 pages: 4,600 answers with lists of accounts, totals and roles, each of 100 ms. */
export const twoHundredPayers: QueuePlan = {
  payers: 200,
  size: { name: '200 payers', accounts: 10, services: 10 },
  pages: 20,
  latencyMs: 100,
  concurrency: 4,
};

/** Fetching many payers by one, two and four workers of a queue, on this one machine. */
export async function benchQueue(
  { payers, size, pages, latencyMs, concurrency }: QueuePlan,
  rounds: Rounds,
  home: string,
): Promise<Row[]> {
  const source = join(home, 'payers');
  const organizations = Array.from(
    { length: payers },
    (_, index) => `payer-${String(index + 1).padStart(4, '0')}`,
  );
  const groupsPerPage = (size.accounts * size.services) / pages;
  await generateMonth(localStaging(source), size, { groupsPerPage, organizations });
  const fetchBy = async (
    env: Readonly<Record<string, string>>,
    count: number,
  ): Promise<Measured> => {
    const staging = await mkdtemp(join(home, 'fetched-'));
    const ends: (() => Promise<void>)[] = [];
    const owner = {
      teardown(end: () => Promise<void>): void {
        ends.push(end);
      },
    };
    const redis = await startRedis();
    try {
      const settings = {
        cwd: staging,
        env: { ...env, PIPELINE_STAGING: staging, PIPELINE_QUEUE: redis.address },
      };
      const args = ['--concurrency', String(concurrency)];
      const workers = Array.from({ length: count }, () =>
        startWorker(owner, { args, ...settings }),
      );
      await Promise.all(workers.map(({ ready }) => ready));
      const run = ['run', '--stage', 'extract', '--month', month, '--log-level', 'error'];
      const measured = await measure(pipeline(run, settings));
      const fetched = (await stagedSlices(localStaging(staging), [month])).length;
      if (fetched !== payers) throw new Error(`${fetched} payers fetched instead of ${payers}`);
      return measured;
    } finally {
      for (const end of ends) await end();
      await redis.stop();
      await rm(staging, { recursive: true });
    }
  };
  const figures = await withStandIn(
    source,
    latencyMs,
    (env) =>
      alternate(rounds, {
        one: () => fetchBy(env, 1),
        two: () => fetchBy(env, 2),
        four: () => fetchBy(env, 4),
      }),
    organizations,
  );
  await rm(source, { recursive: true });
  const { one, two, four } = figures;
  const row = (workers: string, target: number, own: typeof one): Row => ({
    stage: 'queue',
    work: `${workers} workers: ${payers} payers of ${pages} pages, ${latencyMs} ms an answer`,
    beside: 'one worker',
    bound: 'least',
    target,
    ratio: one.seconds / own.seconds,
    ours: describeFigures({ seconds: own.seconds, cpu: undefined, peak: undefined }),
    theirs: describeFigures({ seconds: one.seconds, cpu: undefined, peak: undefined }),
  });
  return [row('two', 1.8, two), row('four', 3.2, four)];
}
