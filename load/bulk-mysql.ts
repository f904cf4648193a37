import { Readable } from 'node:stream';
import type { Knex } from 'knex';
import { z } from 'zod';
import { DataError } from '../pipeline/errors.js';
import type { TableName } from '../pipeline/staging/layout.js';
import type { Batch } from '../pipeline/staging/tables.js';
import { tables } from '../pipeline/staging/tables.js';
import { columnNames } from './schema.js';
import { textOf, writeColumn } from './values.js';

const CHUNK = 1 << 18;

const escapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\0': '\\0' };
const special = /[\\\t\n\0]/;

function escapeField(text: string): string {
  return special.test(text)
    ? text.replace(/[\\\t\n\0]/g, (found) => escapes[found] ?? found)
    : text;
}

/**
 * Rows as LOAD DATA reads them here: fields end with a tab, lines with a line feed, a backslash
 * escapes, `\N` is null. Chunks hold whole lines and are never empty, since an empty packet ends
 * the data.
 */
async function* writeLines(
  table: TableName,
  batches: AsyncIterable<Batch>,
): AsyncGenerator<Buffer, void, undefined> {
  const columns = tables[table];
  let line = 0;
  for await (const batch of batches) {
    const fields = columns.map((column, index) => {
      const write = textOf(column, 'mysql');
      const escaped = column.type === 'string';
      return writeColumn(batch.columns[index] ?? [], '\\N', (value) =>
        escaped ? escapeField(write(value)) : write(value),
      );
    });
    let chunk = '';
    for (let row = 0; row < batch.length; row++) {
      for (const field of fields) chunk += `${field[row] ?? ''}\t`;
      chunk += `${++line}\n`;
      if (chunk.length >= CHUNK) {
        yield Buffer.from(chunk);
        chunk = '';
      }
    }
    if (chunk !== '') yield Buffer.from(chunk);
  }
}

/**
 * Error numbers of a refused LOCAL (MySQL error reference 1148, 3948; MariaDB's 4166): the driver has
 * no names for some.
 */
const refused: readonly unknown[] = [1148, 3948, 4166];
const answer = z
  .tuple([z.object({ affectedRows: z.number(), warningStatus: z.number() })])
  .rest(z.unknown());
const warnings = z.tuple([z.array(z.object({ Message: z.string() }))]).rest(z.unknown());

/**
 * Sends rows with LOAD DATA LOCAL INFILE, without any file: the client answers the server's request
 * from `batches`, and only the request for this load's own name. LOCAL makes the server take wrong
 * values with a warning, so any warning is a failure.
 * @returns false when the server does not allow it; nothing was read from `batches` then.
 * @throws {DataError} on a warning; whatever `batches` throws; the driver's failures.
 */
export async function loadInfile(
  trx: Knex,
  table: TableName,
  batches: AsyncIterable<Batch>,
): Promise<boolean> {
  const name = `pipeline:${table}`;
  const asked: { failure?: unknown; stream?: Readable } = {};
  const infileStreamFactory = (requested: string): Readable => {
    if (requested !== name) asked.failure = new Error('the server asked for a foreign file');
    const lines = requested === name ? guarded(writeLines(table, batches), asked) : [];
    return (asked.stream = Readable.from(lines, { objectMode: false }));
  };
  const columns = columnNames(table).map((column) => `\`${column}\``);
  const sql = `LOAD DATA LOCAL INFILE '${name}' INTO TABLE \`${table}\` CHARACTER SET utf8mb4
    FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' (${columns.join(', ')})`;
  let warned: number;
  try {
    const result: unknown = await trx.raw(sql).options({ infileStreamFactory });
    warned = answer.parse(result)[0].warningStatus;
  } catch (error) {
    if ('failure' in asked) throw asked.failure;
    const isRefused = refused.includes((error as { errno?: unknown }).errno);
    if (asked.stream === undefined && isRefused) return false;
    throw error;
  } finally {
    asked.stream?.destroy();
  }
  if ('failure' in asked) throw asked.failure;
  if (warned > 0) {
    const [messages] = warnings.parse(await trx.raw('SHOW WARNINGS LIMIT 3'));
    throw new DataError(
      `the database does not take ${warned} values of ${table} as they are: ${messages.map(({ Message }) => Message).join('; ')}`,
      { next: 'make the tables anew with "pipeline run --stage transform --force"' },
    );
  }
  return true;
}

/** Keeps the source's own failure: what passes through the driver comes out with the statement in its text. */
async function* guarded<T>(
  source: AsyncIterable<T>,
  asked: { failure?: unknown },
): AsyncGenerator<T, void, undefined> {
  try {
    yield* source;
  } catch (failure) {
    asked.failure = failure;
    throw new Error('the rows ended early', { cause: failure });
  }
}
