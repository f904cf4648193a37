import { measureStaging, stagingTable } from './staging.js';

/** `npm run bench:staging [-- ROUNDS]`: prints the table of folder and S3 for docs/performance.md. */
const rounds = Number(process.argv[2] ?? '5');
process.stdout.write(`${stagingTable(await measureStaging(rounds))}\n`);
