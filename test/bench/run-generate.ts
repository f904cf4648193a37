import { localStaging } from '../../pipeline/staging/local.js';
import { generateMonth } from './generate.js';
import type { SizeName } from './month.js';
import { sizes } from './month.js';

/** `node dist/test/bench/run-generate.js SIZE FOLDER`: stages a month of 2k, 10k, 1m or 10m rows. */
const [size = '', folder = ''] = process.argv.slice(2);
if (!(size in sizes) || folder === '')
  throw new Error(`name a size (${Object.keys(sizes).join(', ')}) and a folder`);
await generateMonth(localStaging(folder), sizes[size as SizeName]);
