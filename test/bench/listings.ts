import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { startS3 } from '../../fixtures/cloud/s3.js';
import type { S3Server } from '../../fixtures/cloud/s3.js';
import { demoData } from '../../fixtures/demo/data.js';
import type { Month } from '../../pipeline/shared/month.js';
import { parseMonth, shiftMonth } from '../../pipeline/shared/month.js';
import { pipeline } from '../support/cli.js';

/** How large a staging area is. */
export interface AreaSize {
  months: number;
  organizations: number;
}

/** What a command asks of S3 over a staging area. */
export interface CommandRequests {
  command: string;
  size: AreaSize;
  listings: number;
  requests: number;
}

/** Three times as many organizations of the same months, and more than a year of months. */
export const areaSizes: readonly AreaSize[] = [
  { months: 2, organizations: 2 },
  { months: 2, organizations: 6 },
  { months: 13, organizations: 2 },
];

const last = parseMonth('2026-10');

/**
 * Counts what commands ask of S3 over staging areas of some sizes, whose months are all loaded: the run that finds
 * nothing to do, and the commands that look.
 * @throws {Error} when a command fails, or a run does something else.
 */
export async function countListings(sizes: readonly AreaSize[]): Promise<CommandRequests[]> {
  const s3 = await startS3({ buckets: sizes.map(bucketOf) });
  try {
    return (await Promise.all(sizes.map((size) => countOver(size, s3)))).flat();
  } finally {
    await s3.close();
  }
}

function bucketOf({ months, organizations }: AreaSize): string {
  return `area-${months}-${organizations}`;
}

async function countOver(size: AreaSize, s3: S3Server): Promise<CommandRequests[]> {
  const months = monthsOf(size.months);
  const organizations = Array.from({ length: size.organizations }, (_, index) => ({
    name: `org${String(index + 1).padStart(2, '0')}`,
    accounts: 1,
  }));
  const data = demoData({ months, organizations });
  for (const organization of data.organizations) organization.multiYear = true;
  const cloud = await startCloud({ data });
  const home = await mkdtemp(join(tmpdir(), 'billing-bench-'));
  const bucket = bucketOf(size);
  const range = ['--from', months[0] ?? last, '--to', last];
  const tasks = 3 * months.length * size.organizations;
  try {
    const count = async (
      command: string,
      args: readonly string[],
      expected?: string,
    ): Promise<CommandRequests> => {
      const before = s3.requests.length;
      const { code, stdout, stderr } = await pipeline([...args, '--staging', `s3://${bucket}`], {
        cwd: home,
        env: { ...cloud.environment, ...s3.environment },
      });
      if (code !== 0 || (expected !== undefined && !stdout.startsWith(expected)))
        throw new Error(`${command} failed: ${stdout}${stderr}`);
      const own = s3.requests.slice(before).filter((request) => request.bucket === bucket);
      const listings = own.filter(({ operation }) => operation === 'ListObjectsV2').length;
      return { command, size, listings, requests: own.length };
    };
    // How often it renews its leases, and asks S3 for that, is a matter of time.
    await count('run', ['run', ...range], `${tasks} done`);
    return [
      await count('`run`, unchanged', ['run', ...range], `${tasks} unchanged`),
      await count('`plan`', ['plan', ...range]),
      await count('`status`', ['status']),
    ];
  } finally {
    await cloud.close();
    await rm(home, { recursive: true, force: true });
  }
}

function monthsOf(count: number): Month[] {
  return Array.from({ length: count }, (_, index) => shiftMonth(last, index + 1 - count));
}

/** The listings as the table of docs/performance.md. */
export function listingsTable(counted: readonly CommandRequests[]): string {
  const commands = [...new Set(counted.map(({ command }) => command))];
  const sizes = [...new Set(counted.map(({ size }) => size))];
  const head = sizes.map(
    ({ months, organizations }) => `${months} months × ${organizations} organizations`,
  );
  const rows = commands.map((command) => [
    command,
    ...sizes.map((size) => {
      const found = counted.find((one) => one.command === command && one.size === size);
      return found === undefined ? '' : `${found.listings} of ${found.requests}`;
    }),
  ]);
  const lines = [['command', ...head], ['---', ...head.map(() => '---')], ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
