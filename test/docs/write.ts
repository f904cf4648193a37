import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../support/cli.js';
import { generate } from './generate.js';

/** `npm run docs`: writes what is generated in README and docs. */
for (const [file, content] of await generate()) await writeFile(join(root, file), content);
