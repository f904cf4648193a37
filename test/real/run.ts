import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { withSection } from '../docs/sections.js';
import { root } from '../support/cli.js';
import { awsTrials } from './aws.js';
import { databaseTrials } from './databases.js';
import { readerTrials } from './readers.js';
import { s3Trials } from './s3.js';
import type { Tried } from './trial.js';
import { cache, runTrial, triedTable } from './trial.js';
import { vaultTrials } from './vault.js';

/**
 * `npm run test:real`: the pipeline on servers, engines and readers that nobody here wrote, each brought by its trial or
 * named as not run. Words choose trials by any part of their names (`npm run test:real -- mysql pandas`). Writes the table of
 * docs/compatibility.md, and fails where anything did not hold.
 */

const trials = [...databaseTrials, ...vaultTrials, ...s3Trials, ...awsTrials, ...readerTrials];
const servers = trials.map(({ server }) => server);

const words = process.argv.slice(2).map((word) => word.toLowerCase());
const chosenBy = (word: string) =>
  trials.filter(({ server }) => server.toLowerCase().includes(word));
for (const word of words)
  if (chosenBy(word).length === 0)
    throw new Error(`no trial is called "${word}"; there are: ${servers.join(', ')}`);
const chosen = words.length === 0 ? trials : [...new Set(words.flatMap(chosenBy))];

await mkdir(cache, { recursive: true });
const tried: Tried[] = [];
// One after the other: each starts servers of its own, and times are not told.
for (const one of chosen) tried.push(await runTrial(one, console.log));

const file = join(root, 'docs/compatibility.md');
const text = await readFile(file, 'utf8');
const [, before = ''] = text.split('<!-- tried-with: written by npm run test:real -->');
const table = triedTable(before, tried, servers);
const style = await resolveConfig(file);
await writeFile(
  file,
  await format(withSection(text, 'tried-with', table), { ...style, parser: 'markdown' }),
);
const failed = tried.filter((one) => one.failed.length > 0);
for (const one of failed) console.log(`${one.server}: ${one.failed.join('; ')}`);
console.log(`${tried.length} tried, ${failed.length} of them failed; the table stands in ${file}`);
if (failed.length > 0) process.exitCode = 1;
