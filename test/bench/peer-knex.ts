import { readFile } from 'node:fs/promises';
import { parse } from 'csv-parse/sync';
import knexModule from 'knex';

/**
 * `node peer-knex.js CSV…` with PEER_DATABASE: Knex's `batchInsert` as its documentation shows, 1,000
 * rows a statement. The rows are objects in memory; prints the seconds that the inserts alone took.
 */
const knex = knexModule.knex({
  client: 'mysql2',
  connection: process.env['PEER_DATABASE'] ?? '',
});
let seconds = 0;
for (const file of process.argv.slice(2)) {
  const rows = parse<Record<string, string | null>>(await readFile(file), {
    columns: true,
    cast: (cell) => (cell === '\\N' ? null : cell),
  });
  const start = performance.now();
  await knex.batchInsert('consumption', rows, 1000);
  seconds += (performance.now() - start) / 1000;
}
await knex.destroy();
process.stdout.write(String(seconds));
