import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { pipeline } from '../support/cli.js';

/** What a whole run of the demo month takes with its staging area in one place. */
export interface StagingFigures {
  place: 'folder' | 'S3';
  /** Seconds of each run, as the run itself reports them. */
  seconds: number[];
  /** Requests to S3 by operation, the same in every run. */
  requests: Map<string, number>;
}

const month = parseMonth('2026-10');

/** Runs the demo month on a folder and on the stand-in's S3 in turn, `rounds` times each. */
export async function measureStaging(rounds: number): Promise<StagingFigures[]> {
  const cloud = await startCloud({ data: demoData({ months: [month] }) });
  const s3 = await startS3({ buckets: ['bench'] });
  const folder: StagingFigures = { place: 'folder', seconds: [], requests: new Map() };
  const bucket: StagingFigures = { place: 'S3', seconds: [], requests: new Map() };
  const home = await mkdtemp(join(tmpdir(), 'billing-bench-'));
  try {
    const run = async (staging: string, database: string): Promise<number> => {
      const args = [
        'run',
        '--month',
        month,
        '--json',
        '--staging',
        staging,
        '--database',
        `sqlite:${database}`,
      ];
      const { code, stdout, stderr } = await pipeline(args, {
        cwd: home,
        env: { ...cloud.environment, ...s3.environment },
      });
      if (code !== 0) throw new Error(`the run failed: ${stderr}`);
      return (JSON.parse(stdout) as { seconds: number }).seconds;
    };
    for (let round = 1; round <= rounds; round++) {
      folder.seconds.push(await run(`folder-${round}`, `folder-${round}.sqlite`));
      const before = s3.requests.length;
      bucket.seconds.push(await run(`s3://bench/${round}`, `bucket-${round}.sqlite`));
      bucket.requests = new Map();
      for (const { operation } of s3.requests.slice(before))
        bucket.requests.set(operation, (bucket.requests.get(operation) ?? 0) + 1);
    }
  } finally {
    await Promise.all([cloud.close(), s3.close()]);
    await rm(home, { recursive: true, force: true });
  }
  return [folder, bucket];
}

/** The figures as the table of docs/performance.md. */
export function stagingTable(figures: readonly StagingFigures[]): string {
  const rows = figures.map(({ place, seconds, requests }) => {
    const sorted = seconds.toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)] ?? NaN;
    const counts = [...requests]
      .sort(([, a], [, b]) => b - a)
      .map(([operation, count]) => `${operation} ${count}`);
    const total = [...requests.values()].reduce((sum, count) => sum + count, 0);
    return `| ${place} | ${median.toFixed(1)} | ${total === 0 ? 'none' : `${total}: ${counts.join(', ')}`} |`;
  });
  return [
    '| staging area | seconds, median | requests to S3 |',
    '| --- | --- | --- |',
    ...rows,
  ].join('\n');
}
