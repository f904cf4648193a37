import type { Cloud, CloudOptions } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Finished } from './cli.js';
import { pipeline, temporaryFolder } from './cli.js';

/** The month of a world's data. */
export const month = parseMonth('2026-10');

/** A stand-in cloud with two small organizations, and a folder to run commands in. */
export interface World {
  cloud: Cloud;
  folder: string;
  /** Runs the command with the cloud's settings. */
  run: (...args: string[]) => Promise<Finished>;
  /** The same with further variables; an empty one counts as unset. */
  runWith: (env: Record<string, string>, ...args: string[]) => Promise<Finished>;
  /** Requests to AWS so far, Vault left out. */
  asked: () => number;
  /** Requests so far that AWS would charge for. */
  charged: () => number;
}

export async function world(
  t: { teardown: (end: () => Promise<void>) => void },
  options: Partial<CloudOptions> = {},
): Promise<World> {
  const folder = await temporaryFolder(t);
  const organizations = [
    { name: 'oab', accounts: 23 },
    { name: 'internal', accounts: 4 },
  ];
  const data = options.data ?? demoData({ months: [month], organizations });
  const cloud = await startCloud({ groupsPerPage: 20, ...options, data });
  t.teardown(() => cloud.close());
  const runWith = (env: Record<string, string>, ...args: string[]): Promise<Finished> =>
    pipeline(args, { cwd: folder, env: { ...cloud.environment, AWS_MAX_ATTEMPTS: '1', ...env } });
  return {
    cloud,
    folder,
    runWith,
    run: (...args) => runWith({}, ...args),
    asked: () => cloud.requests.filter(({ service }) => service !== 'vault').length,
    charged: () => cloud.requests.filter(({ charged }) => charged).length,
  };
}
