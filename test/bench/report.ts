import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { localStaging } from '../../pipeline/staging/local.js';
import { mustBeEqual, parquetContent } from './compare.js';
import { generateMonth } from './generate.js';
import type { Figures, Measured, Rounds } from './measure.js';
import { alternate, measure, pipeline } from './measure.js';
import type { MonthSize } from './month.js';
import { month, organizationNames, rowsOf } from './month.js';
import type { Row } from './table.js';
import { describeFigures, mebibytes, NO_PROC } from './table.js';
import { runTransform } from './transform.js';

/** Longest that a report of a real month, and of a large one, may take, in seconds. */
const REAL_MONTH = 3;
const LARGE_MONTH = 60;
/** Most memory that the large one may take, in MiB. */
const MEMORY = 500;

/** Page, every statement and workbook: of a real month, and of a large one. */
export async function benchReport(size: MonthSize, rounds: Rounds, home: string): Promise<Row[]> {
  const real = await mkdtemp(join(home, 'report-real-'));
  const cloud = await startCloud({ data: demoData({ months: [month] }) });
  try {
    const run = ['run', '--month', month, '--stage', 'extract', '--stage', 'transform'];
    await measure(pipeline(run, { cwd: real, env: cloud.environment }));
  } finally {
    await cloud.close();
  }
  const large = await mkdtemp(join(home, 'report-large-'));
  const staging = join(large, 'staging');
  await mkdir(staging);
  await generateMonth(localStaging(staging), size);
  await runTransform(staging);
  const figures = await alternate(rounds, {
    real: () => report(real),
    large: () => report(large),
  });
  const customers = await customersOf(real);
  const many = organizationNames.length * size.accounts;
  await rm(real, { recursive: true });
  await rm(large, { recursive: true });
  const words = `${rowsOf(size).toLocaleString('en-US')} rows, ${many.toLocaleString('en-US')} customers`;
  return [
    row(`a real month, ${customers} customers`, figures.real, REAL_MONTH),
    row(words, figures.large, LARGE_MONTH),
    {
      stage: 'report',
      work: `${words}, memory`,
      beside: `${MEMORY} MiB`,
      bound: 'most',
      target: 1,
      ratio: figures.large.peak === undefined ? undefined : figures.large.peak / (MEMORY * 2 ** 20),
      ours: figures.large.peak === undefined ? NO_PROC : mebibytes(figures.large.peak),
      theirs: `${MEMORY} MiB`,
    },
  ];
}

function row(work: string, figures: Figures, most: number): Row {
  return {
    stage: 'report',
    work: `${work}: page, statements and workbook`,
    beside: `${most} s`,
    bound: 'most',
    target: 1,
    ratio: figures.seconds / most,
    ours: describeFigures(figures),
    theirs: `${most.toFixed(2)} s`,
  };
}

/** Makes the report anew, and holds what its page says to the Parquet files. */
async function report(folder: string): Promise<Measured> {
  await rm(join(folder, 'report'), { recursive: true, force: true });
  const measured = await measure(pipeline(['report'], { cwd: folder }));
  const page = await readFile(join(folder, 'report', month, 'index.html'), 'utf8');
  const [, json = ''] = /<script id="figures" type="application\/json">([^<]*)</.exec(page) ?? [];
  const { currencies } = JSON.parse(json) as {
    currencies: { currency: string; organizations: [string, string][] }[];
  };
  const files = `${folder}/staging/parquet/consumption/month=${month}/*.parquet`;
  const theirs = (await parquetContent(files)).flatMap(({ Organization, Currency, Amount }) =>
    Organization === undefined
      ? []
      : [[Organization, Currency, formatAmount(parseAmount(String(Amount)).units)]],
  );
  const ours = currencies.flatMap(({ currency, organizations }) =>
    organizations.map(([organization, amount]) => [organization, currency, amount]),
  );
  mustBeEqual('report', ours.sort(), theirs.sort());
  return measured;
}

async function customersOf(folder: string): Promise<number> {
  return (await readdir(join(folder, 'report', month, 'customers'))).length;
}
