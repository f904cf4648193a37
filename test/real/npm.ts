import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { NotRun } from './trial.js';

const run = promisify(execFile);

/**
 * The newest version of an npm package, installed below `cache` without its scripts.
 * @throws {NotRun} where it cannot be had.
 */
export async function npmPackage(
  cache: string,
  name: string,
): Promise<{ folder: string; version: string }> {
  const prefix = join(cache, 'npm');
  try {
    const words = ['install', '--prefix', prefix, '--ignore-scripts', '--no-audit', '--no-fund'];
    await run('npm', [...words, `${name}@latest`]);
  } catch (error) {
    throw new NotRun(`${name} cannot be had from npm: ${String(error).split('\n')[0] ?? ''}`);
  }
  const folder = join(prefix, 'node_modules', name);
  const text = await readFile(join(folder, 'package.json'), 'utf8');
  return { folder, ...z.object({ version: z.string() }).parse(JSON.parse(text)) };
}
