import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import type { Origin } from '../config/starter-file.js';
import { InterruptedError, UsageError, describeError } from '../shared/errors.js';
import { codeOf } from '../shared/files.js';
import { ownCommand } from '../shared/commands.js';
import { tell } from '../shared/output.js';
import { command, each, one, pick } from './command.js';

const FILE = 'pipeline.config.yaml';

/** `pipeline init`: a configuration file to begin with. */
export const init = command({
  name: 'init',
  describe: 'Write a commented configuration file to begin with; asks for what no flag says',
  flags: {
    'vault': { ...one(), describe: "Vault's address: its AWS secret tells the organizations" },
    'aws-secret': { ...one(), describe: 'Path of the AWS secret, with --vault' },
    'organization': { ...each(), describe: 'Organization to list in the file instead, repeatable' },
    'profile': { ...one(), describe: 'AWS profile that reaches the listed organizations' },
    'config': { ...one(), describe: `File to write (default ${FILE}); one that is there stays` },
    ...pick('json', 'log-level'),
  },
  examples: [
    ['init', 'asks where the organizations come from'],
    ['init --vault https://vault.example.com:8200 --aws-secret secret/data/aws', 'from Vault'],
    ['init --organization acme --profile billing', 'from the AWS profile billing'],
  ],
  async work(args, { signal }) {
    const { config: file = FILE } = args;
    const origin = originOf(args) ?? (await ask(signal));
    const { settingsOf, starterFile } = await import('../config/starter-file.js');
    const { resolveConfig } = await import('../config/config.js');
    // The login's own half comes from the environment, when a command needs it.
    const login = { VAULT_ROLE_ID: 'later', VAULT_SECRET_ID: 'later' };
    resolveConfig({}, login, settingsOf(origin), { organizations: true, database: false });
    await writeNew(file, await starterFile(origin));
    const flags = file === FILE ? [] : ['--config', file];
    const next = ['check', 'plan', 'run'].map((name) => ownCommand([name, ...flags]));
    const first = origin.kind === 'vault' ? ['export VAULT_ROLE_ID=… VAULT_SECRET_ID=…'] : [];
    return {
      text: () =>
        [
          `${file} is written; every setting stands in it with its meaning`,
          ...['', 'next'],
          ...[...first, ...next].map((line) => `  ${line}`),
        ].join('\n'),
      json: () => ({ file, next }),
      failed: false,
    };
  },
});

/** @throws {UsageError} when the flags of the two ways are mixed, or only a part of one is given. */
function originOf(args: {
  'vault'?: string | undefined;
  'aws-secret'?: string | undefined;
  'organization'?: readonly string[] | undefined;
  'profile'?: string | undefined;
}): Origin | undefined {
  const { vault, 'aws-secret': awsSecretPath, 'organization': organizations, profile } = args;
  const isVault = (vault ?? awsSecretPath) !== undefined;
  const isList = organizations !== undefined || profile !== undefined;
  if (!isVault && !isList) return undefined;
  const refuse = (message: string): UsageError =>
    new UsageError(message, {
      next: 'give --vault and --aws-secret, or --organization and, where it has one, --profile',
    });
  if (isVault && isList) throw refuse('the organizations come from Vault or from a list');
  if (isList) {
    if (organizations === undefined) throw refuse('--profile needs the --organization it reaches');
    return { kind: 'list', organizations, profile };
  }
  if (vault === undefined || awsSecretPath === undefined)
    throw refuse('--vault and --aws-secret go together');
  return { kind: 'vault', address: vault, awsSecretPath };
}

/**
 * Asks people at a terminal where the organizations come from.
 * @throws {UsageError} where there is nobody to ask. @throws {InterruptedError} when they do not answer.
 */
async function ask(signal: AbortSignal): Promise<Origin> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new UsageError('there is no terminal to ask where the organizations come from', {
      next: 'give --vault and --aws-secret, or --organization and, where it has one, --profile',
    });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new AbortController();
  // Ctrl-C and Ctrl-D at the prompt are the terminal's own business.
  terminal.once('SIGINT', () => {
    terminal.close();
  });
  terminal.once('close', () => {
    ended.abort();
  });
  const options = { signal: AbortSignal.any([signal, ended.signal]) };
  const question = async (text: string, fits = /\S/): Promise<string> => {
    for (;;) {
      const said = await terminal.question(`${text}: `, options).catch(() => {
        throw new InterruptedError();
      });
      if (fits.test(said.trim())) return said.trim();
    }
  };
  try {
    tell('The organizations come from an AWS secret in Vault, or from AWS profiles.');
    if (/^v/i.test(await question('vault or profile', /^(v|vault|p|profile)$/i))) {
      const address = await question("Vault's address, such as https://vault.example.com:8200");
      const awsSecretPath = await question('path of the AWS secret, such as secret/data/aws');
      return { kind: 'vault', address, awsSecretPath };
    }
    const name = await question('a name for the organization, such as acme');
    const profile = await question('its AWS profile (empty: the default credentials)', /^/);
    return { kind: 'list', organizations: [name], profile: profile === '' ? undefined : profile };
  } finally {
    terminal.close();
  }
}

/** @throws {UsageError} when the file is there already, or cannot be written. */
async function writeNew(file: string, content: string): Promise<void> {
  try {
    // A database's address that is put into it later may hold a password.
    await writeFile(file, content, { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    const isThere = codeOf(cause) === 'EEXIST';
    throw new UsageError(
      isThere
        ? 'the file is there already, and stays as it is'
        : `the file cannot be written: ${describeError(cause)}`,
      { where: file, next: 'name another file with --config', cause },
    );
  }
}
