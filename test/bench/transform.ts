import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { localStaging } from '../../pipeline/staging/local.js';
import { csvContent, mustBeEqual, mustHaveRows, parquetContent } from './compare.js';
import { generateMonth } from './generate.js';
import type { Figures, Measured, Rounds } from './measure.js';
import { alternate, measure, pipeline, script } from './measure.js';
import type { MonthSize } from './month.js';
import { month, organizationNames, rowsOf } from './month.js';
import type { Row } from './table.js';
import { describeFigures, majorOf, mebibytes, NO_PROC } from './table.js';

/** V8 got much faster between Node 20 and 24, so that each has targets of its own. */
const isNode24 = Number(majorOf(process.versions.node)) >= 24;

/** Makes the tables anew from what is staged in `staging`. */
export function runTransform(staging: string): Promise<Measured> {
  const args = ['run', '--stage', 'transform', '--force', '--month', month, '--staging', staging];
  return measure(pipeline(args, { cwd: staging }));
}

/** Staged pages to Parquet and CSV, beside DuckDB. `staging` holds a generated month. */
export async function benchTransform(
  staging: string,
  size: MonthSize,
  rounds: Rounds,
  home: string,
): Promise<Row[]> {
  const rows = rowsOf(size);
  const out = join(home, 'duckdb');
  await mkdir(out, { recursive: true });
  const { ours, duckdb } = await alternate(rounds, {
    ours: () => runTransform(staging),
    duckdb: () => measure(script('peer-duckdb', [staging, month, out])),
  });
  const parquet = `${staging}/parquet/consumption/month=${month}`;
  const csv = `${staging}/csv/consumption/month=${month}`;
  const theirs = await parquetContent(`${out}/*.parquet`);
  mustHaveRows('Parquet', theirs, rows);
  mustBeEqual('Parquet', await parquetContent(`${parquet}/*.parquet`), theirs);
  mustBeEqual('CSV', await csvContent(`${csv}/*.csv`), await csvContent(`${out}/*.csv`));
  const bytes = await bytesIn(parquet, 'parquet');
  const theirBytes = await bytesIn(out, 'parquet');
  const sizesOf = (big: number, text: number): string =>
    `Parquet ${mebibytes(big)}, CSV ${mebibytes(text)}`;
  return [
    {
      stage: 'transform',
      work: `staged JSON pages → Parquet and CSV, ${rows.toLocaleString('en-US')} rows`,
      beside: 'DuckDB, `read_json` → `COPY` Parquet (zstd) and CSV',
      bound: 'most',
      target: isNode24 ? 1 : 1.25,
      ratio: ours.seconds / duckdb.seconds,
      ours: describeFigures(ours, rows),
      theirs: describeFigures(duckdb, rows),
    },
    {
      stage: 'transform',
      work: 'the same, CPU',
      beside: "DuckDB's",
      bound: 'most',
      target: isNode24 ? 0.8 : 1,
      ...besideCpu(ours, duckdb),
    },
    {
      stage: 'transform',
      work: 'size of the Parquet files',
      beside: "DuckDB's, zstd",
      bound: 'most',
      target: 1,
      ratio: bytes / theirBytes,
      ours: sizesOf(bytes, await bytesIn(csv, 'csv')),
      theirs: sizesOf(theirBytes, await bytesIn(out, 'csv')),
    },
  ];
}

/** Ten times the rows beside the rows: time and memory must not grow faster than they do. */
export async function benchTenfold(
  staging: string,
  size: MonthSize,
  tenfold: MonthSize,
  rounds: Rounds,
  home: string,
): Promise<Row[]> {
  const large = join(home, 'tenfold');
  await mkdir(large, { recursive: true });
  await generateMonth(localStaging(large), tenfold);
  const figures = await alternate(rounds, {
    one: () => runTransform(staging),
    ten: () => runTransform(large),
  });
  const { one, ten } = figures;
  const rows = rowsOf(tenfold).toLocaleString('en-US');
  const same = { stage: 'transform', beside: `itself at ${rowsOf(size).toLocaleString('en-US')}` };
  const words = {
    ours: describeFigures(ten, rowsOf(tenfold)),
    theirs: describeFigures(one, rowsOf(size)),
  };
  return [
    {
      ...same,
      work: `${rows} rows, time`,
      bound: 'most',
      target: 10.5,
      ratio: ten.seconds / one.seconds,
      ...words,
    },
    {
      ...same,
      work: `${rows} rows, growth of peak memory`,
      bound: 'most',
      target: 1.2,
      ...peaks(one, ten),
    },
    {
      ...same,
      work: `${rows} rows, peak memory`,
      beside: '400 MiB',
      bound: 'most',
      target: 1,
      ratio: ten.peak === undefined ? undefined : ten.peak / (400 * 2 ** 20),
      ours: ten.peak === undefined ? NO_PROC : mebibytes(ten.peak),
      theirs: '400 MiB',
    },
  ];
}

function besideCpu(ours: Figures, theirs: Figures): Pick<Row, 'ratio' | 'ours' | 'theirs'> {
  if (ours.cpu === undefined || theirs.cpu === undefined)
    return { ratio: undefined, ours: NO_PROC, theirs: '' };
  const words = (cpu: number): string => `${cpu.toFixed(2)} s CPU`;
  return { ratio: ours.cpu / theirs.cpu, ours: words(ours.cpu), theirs: words(theirs.cpu) };
}

function peaks(one: Figures, ten: Figures): Pick<Row, 'ratio' | 'ours' | 'theirs'> {
  if (one.peak === undefined || ten.peak === undefined)
    return { ratio: undefined, ours: NO_PROC, theirs: '' };
  return { ratio: ten.peak / one.peak, ours: mebibytes(ten.peak), theirs: mebibytes(one.peak) };
}

async function bytesIn(folder: string, extension: string): Promise<number> {
  const files = organizationNames.map((name) => stat(join(folder, `${name}.${extension}`)));
  return (await Promise.all(files)).reduce((sum, { size }) => sum + size, 0);
}
