import { once } from 'node:events';
import { startStandIn } from './stand-in.js';

/** `node run-stand-in.js STAGING LATENCY ORGANIZATION…`: prints its environment as JSON and serves until standard input ends. */
const [staging = '', latency = '0', ...organizations] = process.argv.slice(2);
const standIn = await startStandIn(staging, Number(latency), organizations);
process.stdout.write(`${JSON.stringify(standIn.environment)}\n`);
process.stdin.resume();
await once(process.stdin, 'end');
await standIn.close();
