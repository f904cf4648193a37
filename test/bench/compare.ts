import { consumption } from '../../pipeline/staging/tables.js';
import { query } from '../support/duckdb.js';
import { decimals, duckdbType, quoted } from './month.js';

/** Rows and exact sums of consumption, by organization and currency. */
export type Content = readonly Readonly<Record<string, unknown>>[];

/** The sums of every amount, as DuckDB computes them from a table expression with consumption's columns. */
function sumsOf(source: string): string {
  const sums = decimals.map(({ name }) => `sum(${quoted(name)})::VARCHAR AS ${quoted(name)}`);
  return `SELECT "Organization", "Currency", count(*)::VARCHAR AS "rows", ${sums.join(', ')} FROM ${source} GROUP BY ALL ORDER BY ALL`;
}

/** A number that is the same for the same rows in any order, and hardly ever for others. */
const fingerprint = `sum(hash(${consumption.map(({ name }) => quoted(name)).join(', ')})::HUGEINT)::VARCHAR`;

/** The content of Parquet files, with a fingerprint of all cells. */
export function parquetContent(files: string): Promise<Content> {
  return contentOf(`read_parquet('${files}', hive_partitioning = false)`);
}

/** The content of CSV files, each cell read as its column's type. */
export function csvContent(files: string): Promise<Content> {
  const cells = consumption.map((column) => {
    const name = quoted(column.name);
    const text = column.nullable === true ? `nullif(${name}, 'N/A')` : name;
    return `${text}::${duckdbType(column)} AS ${name}`;
  });
  return contentOf(
    `(SELECT ${cells.join(', ')} FROM read_csv('${files}', header = true, all_varchar = true, delim = ',', quote = '"', escape = '"', hive_partitioning = false))`,
  );
}

async function contentOf(source: string): Promise<Content> {
  const sums = await query(sumsOf(source));
  return [...sums, ...(await query(`SELECT ${fingerprint} AS fingerprint FROM ${source}`))];
}

/** A query of a database that gives the same rows and sums; SQLite's amounts are texts. */
export const databaseSums = `SELECT Organization, Currency, count(*) AS \`rows\`, ${decimals.map(({ name }) => `sum(${name}) AS ${name}`).join(', ')} FROM consumption GROUP BY Organization, Currency ORDER BY Organization, Currency`;

/**
 * Fails the bench when two contents differ.
 * @throws {Error} that shows both.
 */
export function mustBeEqual(what: string, ours: unknown, theirs: unknown): void {
  const [a, b] = [JSON.stringify(ours, null, 1), JSON.stringify(theirs, null, 1)];
  if (a !== b) throw new Error(`${what}: the rows or sums differ\nours ${a}\nbeside ${b}`);
}

/**
 * Fails the bench when a content has another number of rows than was generated: two sides without rows
 * are equal, too.
 * @throws {Error} that shows it.
 */
export function mustHaveRows(what: string, content: Content, rows: number): void {
  const found = content.reduce((sum, { rows: some = 0 }) => sum + Number(some), 0);
  if (found !== rows) throw new Error(`${what}: ${found} rows instead of ${rows}`);
}
