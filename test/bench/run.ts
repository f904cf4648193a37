import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { withSection } from '../docs/sections.js';
import { root } from '../support/cli.js';
import { apart, bench, groups } from './bench.js';
import { fortyPages } from './extract.js';
import { sizes } from './month.js';
import { benchOn, otherNodes } from './nodes.js';
import { twoHundredPayers } from './queue.js';
import { threeYears } from './years.js';
import type { NodeRows } from './table.js';
import { benchChart, benchTable } from './table.js';
import { growthChart, growthTable } from './growth.js';

/** `npm run bench`: the table of docs/performance.md, measured on this machine. */
const args = await yargs(hideBin(process.argv))
  .scriptName('npm run bench --')
  .options({
    size: {
      choices: ['10k', '1m', '10m', 'all'] as const,
      default: '1m' as const,
      describe:
        'Rows: 10k is a quick look without 10m; 1m (and all) the whole table; 10m its growth',
    },
    only: {
      choices: groups,
      array: true,
      describe: `Only these groups of rows; ${apart.join(' and ')} are measured where they are named alone`,
    },
    rounds: { type: 'number', default: 5, describe: 'How often each side runs' },
    json: {
      type: 'boolean',
      default: false,
      describe: 'The rows as JSON, measured on this Node alone',
    },
    write: {
      type: 'boolean',
      default: false,
      describe: 'Put tables and charts into docs/performance.md; of some groups only the growth',
    },
  })
  .strict()
  .parseAsync();

// Ctrl-C ends the process that is measured; what was generated is then removed. A second one ends this too.
process.once('SIGINT', () => process.stderr.write('stopping\n'));
const others = args.json ? [] : await otherNodes();
const all = groups.filter(
  (group) => !apart.includes(group) && !(group === 'tenfold' && args.size === '10k'),
);
const rows = await bench({
  size: args.size === '10k' ? sizes['10k'] : sizes['1m'],
  tenfold: sizes['10m'],
  detailAccounts: args.size === '10k' ? 200 : 20_000,
  extract: fortyPages,
  queue: args.size === '10k' ? { ...twoHundredPayers, payers: 48 } : twoHundredPayers,
  years: args.size === '10k' ? { ...threeYears, months: 4, organizations: 8 } : threeYears,
  report: args.size === '10k' ? sizes['10k'] : sizes.report,
  mysqld: process.env['MYSQLD'],
  only: args.only ?? (args.size === '10m' ? ['tenfold'] : all),
  rounds: args.rounds,
  say: (line) => process.stderr.write(`${line}\n`),
});
const own: NodeRows = { node: process.versions.node, rows };
if (args.json) {
  process.stdout.write(JSON.stringify(own));
  process.exit();
}
const measured = [own];
for (const node of others) {
  process.stderr.write(`the same on ${node}\n`);
  measured.push(await benchOn(node));
}
const table = benchTable(measured);
const growth = growthTable(measured);
const hasGrowth = rows.some((row) => row.growth !== undefined);
process.stdout.write(`${table}\n${hasGrowth ? `\n${growth}\n` : ''}`);
if (args.write) {
  const file = join(root, 'docs/performance.md');
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${measured.map(({ node }) => node).join(' and ')}`;
  const section = `![Measured ratios beside their targets](performance.svg)\n\n${table}\n\nMedians of ${args.rounds} alternating runs on one machine (${machine}).`;
  const parts: Record<string, string> = {};
  // Some groups alone are not the table.
  if (args.only === undefined) parts['bench'] = section;
  if (hasGrowth)
    parts['growth'] =
      `![Seconds over months times organizations](growth.svg)\n\n${growth}\n\nOn one machine (${machine}).`;
  let text = await readFile(file, 'utf8');
  for (const [name, part] of Object.entries(parts)) text = withSection(text, name, part);
  const style = await resolveConfig(file);
  await writeFile(file, await format(text, { ...style, parser: 'markdown' }));
  if (args.only === undefined)
    await writeFile(join(root, 'docs/performance.svg'), benchChart(measured));
  if (hasGrowth) await writeFile(join(root, 'docs/growth.svg'), growthChart(measured));
}
