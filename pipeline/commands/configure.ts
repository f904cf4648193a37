import type { Config, Flags, Needs } from '../config/config.js';

/**
 * Settles a command's settings from its flags, the environment and the configuration file. What validates
 * them loads only now: `--help` and `--version` do without it.
 * @throws {UsageError} naming every setting that is wrong or missing.
 */
export async function configure(flags: Flags, needs: Needs): Promise<Config> {
  const { readConfigFile, resolveConfig } = await import('../config/config.js');
  const named = typeof flags['config'] === 'string' ? flags['config'] : undefined;
  return resolveConfig(flags, process.env, await readConfigFile(named), needs);
}
