import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { format } from 'prettier';
import { withSection } from '../docs/sections.js';
import { root } from '../support/cli.js';
import { areaSizes, countListings, listingsTable } from './listings.js';

test('commands list a bucket by month, however many organizations there are, as the documentation says', async (t) => {
  const counted = await countListings(areaSizes);
  const of = (command: string): number[] =>
    counted.filter((one) => one.command === command).map(({ listings }) => listings);
  for (const command of ['`run`, unchanged', '`plan`', '`status`']) {
    const [few = 0, many, years = Infinity] = of(command);
    t.is(many, few, command);
    // Six times the months.
    t.true(years <= few, `${command}: ${years} listings`);
  }
  const text = await readFile(join(root, 'docs/performance.md'), 'utf8');
  const table = await format(listingsTable(counted), { parser: 'markdown' });
  t.is(text, withSection(text, 'listings', table.trim()), 'npm run bench:staging writes it');
});
