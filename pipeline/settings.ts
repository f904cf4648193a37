import { z } from 'zod';

/**
 * Every setting, declared once: where it may come from and what it must look like. The flags are
 * declared with the commands; here stands only which setting a flag sets.
 */

const text = z.string().min(1);

/** `true` and `1` alone switch on, as Vault's own command line reads VAULT_SKIP_VERIFY's true values. */
const onlyTrue = z
  .union([z.boolean(), z.number(), z.string()])
  .transform((value) => ['true', '1'].includes(String(value).toLowerCase()));

const httpUrl = z.url({ protocol: /^https?$/, error: 'is no http:// or https:// address' });

export const settingsSchema = z.strictObject({
  vault: z
    .strictObject({
      address: httpUrl.optional(),
      roleId: text.optional(),
      secretId: text.optional(),
      loginPath: text.default('auth/approle/login'),
      awsSecretPath: text.optional(),
      suiviSecretPath: text.optional(),
      namespace: text.optional(),
      caCert: text.optional(),
      skipVerify: onlyTrue.default(false),
    })
    .prefault({}),
  staging: text.default('./staging'),
  database: text.optional(),
  parquet: z
    .enum(['standard', 'basic'], { error: 'is neither "standard" nor "basic"' })
    .default('standard'),
  concurrency: z.coerce.number().int().min(1).max(64).default(8),
  /** Seconds to wait for another run that holds the same month and organization. */
  wait: z.coerce.number().int().min(0).max(604_800).default(0),
  /** Seconds after which a request that does not answer is given up. */
  timeout: z.coerce.number().int().min(1).max(3600).default(60),
  s3: z
    .strictObject({
      sse: z.enum(['AES256', 'aws:kms'], { error: 'is neither "AES256" nor "aws:kms"' }).optional(),
      kmsKeyId: text.optional(),
    })
    .prefault({}),
  /** Most requests to Cost Explorer that one run may make, over all organizations. */
  maxRequests: z.coerce.number().int().min(0).optional(),
  /** Organization → its customers' and consumption's Tag. */
  tags: z.record(z.string(), z.string().max(64)).default({}),
});

/** Settings as they were validated, defaults filled in. */
export type SettingValues = z.infer<typeof settingsSchema>;

export interface Source {
  /** Dotted path in the configuration file and in {@link SettingValues}. */
  readonly path: string;
  readonly flag?: string;
  readonly env?: string;
}

/** Where each setting may come from besides the configuration file. */
export const sources: readonly Source[] = [
  { path: 'vault.address', env: 'VAULT_ADDR' },
  { path: 'vault.roleId', env: 'VAULT_ROLE_ID' },
  { path: 'vault.secretId', env: 'VAULT_SECRET_ID' },
  { path: 'vault.loginPath', env: 'VAULT_LOGIN_PATH' },
  { path: 'vault.awsSecretPath', env: 'VAULT_AWS_SECRET_PATH' },
  { path: 'vault.suiviSecretPath', env: 'VAULT_SUIVI_SECRET_PATH' },
  { path: 'vault.namespace', env: 'VAULT_NAMESPACE' },
  { path: 'vault.caCert', env: 'VAULT_CACERT' },
  { path: 'vault.skipVerify', env: 'VAULT_SKIP_VERIFY' },
  { path: 'staging', flag: 'staging', env: 'PIPELINE_STAGING' },
  { path: 'database', flag: 'database', env: 'PIPELINE_DATABASE' },
  { path: 'parquet', flag: 'parquet' },
  { path: 'concurrency', flag: 'concurrency' },
  { path: 'wait', flag: 'wait' },
  { path: 'timeout', flag: 'timeout' },
  { path: 'maxRequests', flag: 'max-requests' },
  { path: 's3.sse', flag: 's3-sse' },
  { path: 's3.kmsKeyId', flag: 's3-kms-key' },
  { path: 'tags' },
];

/** How a user knows a setting: `--staging, PIPELINE_STAGING or "staging"`. */
export function nameOf(path: string): string {
  const source = sources.find((candidate) => candidate.path === path);
  const names = [
    source?.flag === undefined ? undefined : `--${source.flag}`,
    source?.env,
    `"${path}" in the configuration file`,
  ];
  return names.filter((name) => name !== undefined).join(' or ');
}
