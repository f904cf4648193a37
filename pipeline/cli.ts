#!/usr/bin/env node
import * as nodeModule from 'node:module';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';

/** Node 22 and later have it; the types of Node 20 do not. It never throws, and does without where it cannot write. */
interface CompileCache {
  enableCompileCache?: (directory: string) => unknown;
}

/**
 * Where Node keeps what it compiled for the next start. Its own choice would be a folder of the machine's
 * temporary ones, where another user of the machine could put code for this process to run.
 * @returns `undefined` for a user whom the system does not know, as in a container.
 */
function compileCache(): string | undefined {
  try {
    // Not HOME: under sudo that may be the home of somebody else.
    return join(userInfo().homedir, '.cache', 'aws-billing-pipeline', 'node');
  } catch {
    return undefined;
  }
}

const directory = compileCache();
if (directory !== undefined) (nodeModule as CompileCache).enableCompileCache?.(directory);

// Node 20's V8 optimizes, on threads beside ours, most of what a run of seconds calls, and took a fifth of a real
// month's CPU for what it never got back. What a large month does over and over comes to it all the same. Node 22
// has another flag and a cheaper compiler before it.
if (process.versions.v8.startsWith('11.')) setFlagsFromString('--interrupt-budget=1000000');

// All that is to come out of the cache has to be imported after it.
await import('./command-line.js');
