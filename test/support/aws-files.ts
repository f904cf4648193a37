import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

/** The shared AWS files of a user of their own, so that neither the machine's nor its metadata service is met. */
export interface AwsFiles {
  home: string;
  config: string;
  credentials: string;
  /** Variables under which the SDK finds these files and nothing else. */
  environment: Record<string, string>;
  /** The same for this very process, whose own settings are taken away. */
  ownEnvironment: Record<string, string | undefined>;
}

/** Writes `~/.aws/config` and `~/.aws/credentials` below a home that is removed when the test ends. */
export async function awsFiles(
  t: ExecutionContext,
  { config = '', credentials = '' }: { config?: string; credentials?: string } = {},
): Promise<AwsFiles> {
  const home = await mkdtemp(join(tmpdir(), 'aws-home-'));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const folder = join(home, '.aws');
  await mkdir(folder);
  const files = { config: join(folder, 'config'), credentials: join(folder, 'credentials') };
  await writeFile(files.config, config);
  await writeFile(files.credentials, credentials);
  const environment = {
    HOME: home,
    AWS_CONFIG_FILE: files.config,
    AWS_SHARED_CREDENTIALS_FILE: files.credentials,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  const unset = ['ACCESS_KEY_ID', 'SECRET_ACCESS_KEY', 'SESSION_TOKEN', 'PROFILE', 'REGION'];
  const taken = Object.fromEntries(unset.map((name) => [`AWS_${name}`, undefined]));
  return { home, ...files, environment, ownEnvironment: { ...taken, ...environment } };
}

/** A profile's section with long-term keys, for the file of credentials. */
export function keysSection(
  profile: string,
  keys: { accessKeyId: string; secretAccessKey: string },
): string {
  return `[${profile}]\naws_access_key_id = ${keys.accessKeyId}\naws_secret_access_key = ${keys.secretAccessKey}\n`;
}
