import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { withSection } from '../docs/sections.js';
import { root } from '../support/cli.js';
import { areaSizes, countListings, listingsTable } from './listings.js';
import { measureStaging, stagingTable } from './staging.js';

/**
 * `npm run bench:staging [-- ROUNDS]`: prints the table of folder and S3 for docs/performance.md, and puts that of
 * listings there.
 */
const rounds = Number(process.argv[2] ?? '5');
const file = join(root, 'docs/performance.md');
const listings = listingsTable(await countListings(areaSizes));
const text = withSection(await readFile(file, 'utf8'), 'listings', listings);
const style = await resolveConfig(file);
await writeFile(file, await format(text, { ...style, parser: 'markdown' }));
process.stdout.write(`${stagingTable(await measureStaging(rounds))}\n`);
