import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { details } from '../../pipeline/shared/scope.js';
import { mustBeEqual, parquetContent } from './compare.js';
import { GROUPS_PER_PAGE } from './generate.js';
import type { Measured, Rounds } from './measure.js';
import { alternate, measure, pipeline } from './measure.js';
import { month } from './month.js';
import type { Row } from './table.js';
import { NO_PROC } from './table.js';

type Detail = (typeof details)[number];
const organization = 'oab';

/**
 * A row of the detail by usage type beside one of the detail by service, in CPU of transform. Both months
 * are fetched from the demo's cloud, so that usage types that services share and regions are in it as they
 * come; what the command takes without any row is taken from both.
 */
export async function benchDetail(accounts: number, rounds: Rounds, home: string): Promise<Row[]> {
  const folder = await mkdtemp(join(home, 'detail-'));
  const data = demoData({ months: [month], organizations: [{ name: organization, accounts }] });
  const cloud = await startCloud({ data, groupsPerPage: GROUPS_PER_PAGE });
  const run = (detail: Detail, stage: string, ...flags: string[]): Promise<Measured> => {
    const args = ['run', '--month', month, '--detail', detail, '--staging', detail];
    const command = pipeline([...args, '--stage', stage, ...flags], {
      cwd: folder,
      env: cloud.environment,
    });
    return measure(command);
  };
  try {
    for (const detail of details) await run(detail, 'extract');
  } finally {
    await cloud.close();
  }
  const figures = await alternate(rounds, {
    service: () => run('service', 'transform', '--force'),
    usageType: () => run('usage-type', 'transform', '--force'),
    nothing: () => run('service', 'transform'),
  });
  const content = (detail: Detail) =>
    parquetContent(`${folder}/${detail}/parquet/consumption/month=${month}/*.parquet`);
  const [[service], [usageType]] = await Promise.all([content('service'), content('usage-type')]);
  mustBeEqual('both details', service?.['Amount'], usageType?.['Amount']);
  const [ours, theirs] = [Number(usageType?.['rows']), Number(service?.['rows'])];
  await rm(folder, { recursive: true });

  const rowOf = ({ cpu }: { cpu: number | undefined }, rows: number): number | undefined =>
    cpu === undefined || figures.nothing.cpu === undefined
      ? undefined
      : (1e6 * (cpu - figures.nothing.cpu)) / rows;
  const [byUsageType, byService] = [rowOf(figures.usageType, ours), rowOf(figures.service, theirs)];
  const words = (each: number | undefined, rows: number): string =>
    each === undefined
      ? NO_PROC
      : `${each.toFixed(2)} µs CPU, ${rows.toLocaleString('en-US')} rows`;
  return [
    {
      stage: 'transform',
      work: 'a row of the detail by usage type, CPU',
      beside: 'a row of the detail by service',
      bound: 'most',
      target: 1.3,
      ratio:
        byUsageType === undefined || byService === undefined ? undefined : byUsageType / byService,
      ours: words(byUsageType, ours),
      theirs: words(byService, theirs),
    },
  ];
}
