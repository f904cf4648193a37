import { z } from 'zod';
import { DataError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import { parseAmount } from '../shared/money.js';
import { details, furtherMetrics } from '../shared/scope.js';
import * as formats from './formats.js';

/**
 * Every setting, declared once: where it may come from and what it must look like. The flags are
 * declared with the commands; here stands only which setting a flag sets.
 */

/**
 * A text that ends up in requests, paths and messages, and holds no control character: a line break in it is
 * a slip of whoever pasted it, and no header can carry one.
 */
const text = z
  .string({ error: 'is no text' })
  .min(1, { error: 'is empty' })
  .regex(/^\P{Cc}*$/u, { error: 'holds a line break or another control character' });

/** A text that goes into an HTTP header, which carries visible ASCII alone. */
const headerText = text.regex(/^[\x21-\x7e]+$/, {
  error: 'holds a space or a character that an HTTP header cannot carry',
});

/** A flag and a variable are texts; the file's values come as they are written, see `readConfigFile`. */
const written = z.union([z.string(), z.number(), z.boolean()], { error: 'is no single value' });

/**
 * A whole number is digits: "0x10", "1e3", " 5" or `true` would each be one to somebody, and mean something
 * else to somebody else.
 */
export function wholeNumber(least: number, most: number): z.ZodType<number> {
  const error = `is no whole number from ${least} to ${most}, written in digits`;
  return written
    .transform((value) => (/^\d+$/.test(String(value)) ? Number(value) : NaN))
    .pipe(z.number({ error }).int({ error }).min(least, { error }).max(most, { error }));
}

function oneOf(meanings: Readonly<Record<string, boolean>>): z.ZodType<boolean> {
  return written.transform((value, context): boolean => {
    const word = String(value).toLowerCase();
    if (Object.hasOwn(meanings, word)) return meanings[word] === true;
    context.addIssue('is neither true nor false');
    return z.NEVER;
  });
}

const trueOrFalse = oneOf({ true: true, false: false });

/** Vault's own variable is written as Vault's command line takes it (Go, strconv.ParseBool). */
const vaultBoolean = oneOf({
  ...{ true: true, t: true, 1: true },
  ...{ false: false, f: false, 0: false },
});

/** An exact amount, not negative, in plain decimal notation. */
const tolerance = written.transform((value, context): Units => {
  const digits = String(value);
  if (/^\d+(\.\d+)?$/.test(digits)) {
    try {
      const { units, rounded } = parseAmount(digits);
      if (!rounded) return units;
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
    }
  }
  context.addIssue('is no amount from 0 up, such as 0.01');
  return z.NEVER;
});

export const httpUrl = z.url({ protocol: /^https?$/, error: 'is no http:// or https:// address' });

function formatted({ pattern, write }: formats.Format): z.ZodString {
  return z.string({ error: 'is no text' }).regex(pattern, { error: `is malformed; ${write}` });
}

const tag = text.max(64, { error: 'has more than 64 characters' });

/** An organization that Vault does not tell: reached with a profile or the SDK's default credentials. */
export const organizationSchema = z
  .strictObject({
    name: text,
    roleArn: formatted(formats.roleArn).optional(),
    roleSessionName: formatted(formats.roleSessionName).optional(),
    externalId: formatted(formats.externalId).optional(),
    profile: text.optional(),
    region: formatted(formats.region).optional(),
    billingViewArn: formatted(formats.billingViewArn).optional(),
    listAccounts: trueOrFalse.optional(),
    tag: tag.optional(),
  })
  .superRefine(({ roleArn, roleSessionName, externalId }, context) => {
    if (roleArn === undefined && (roleSessionName ?? externalId) !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['roleArn'],
        message: 'is missing; roleSessionName and externalId go with it only',
      });
  });

export const settingsSchema = z.strictObject({
  vault: z
    .strictObject({
      address: httpUrl.optional(),
      roleId: text.optional(),
      secretId: text.optional(),
      loginPath: text.default('auth/approle/login'),
      awsSecretPath: text.optional(),
      suiviSecretPath: text.optional(),
      namespace: headerText.optional(),
      caCert: text.optional(),
      skipVerify: vaultBoolean.default(false),
    })
    .prefault({}),
  staging: text.default('./staging'),
  database: text.optional(),
  parquet: z
    .enum(['standard', 'basic'], { error: 'is neither "standard" nor "basic"' })
    .default('standard'),
  concurrency: wholeNumber(1, 64).default(8),
  /** Seconds to wait for another run that holds the same month and organization. */
  wait: wholeNumber(0, 604_800).default(0),
  /** Seconds after which a request that does not answer is given up. */
  timeout: wholeNumber(1, 3600).default(60),
  /** How finely extract asks for a month's cost. */
  detail: z
    .enum(details, { error: `is neither ${details.map((one) => `"${one}"`).join(' nor ')}` })
    .default('service'),
  /** Cost metrics beside UnblendedCost, which is always there. */
  metrics: z
    .array(
      z.enum([...furtherMetrics, 'UnblendedCost'], {
        error: `is none of ${furtherMetrics.join(', ')}`,
      }),
      { error: 'is no list' },
    )
    .transform((metrics) => furtherMetrics.filter((metric) => metrics.includes(metric)))
    .default([]),
  /** Whether extract asks for each account's cost by charge type too. */
  byRecordType: trueOrFalse.default(false),
  /** Whether extract asks AWS for the ungrouped total too. */
  awsTotal: trueOrFalse.default(true),
  /** The largest difference from AWS's ungrouped total that load takes, in units of 10^-18 of the currency. */
  tolerance: tolerance.default(parseAmount('0.01').units),
  /** Days after a month's end in which its figures are provisional: fetched again on a later day. */
  provisionalDays: wholeNumber(0, 365).default(10),
  s3: z
    .strictObject({
      sse: z.enum(['AES256', 'aws:kms'], { error: 'is neither "AES256" nor "aws:kms"' }).optional(),
      kmsKeyId: text.optional(),
    })
    .prefault({}),
  /** Most requests to Cost Explorer that one run may make, over all organizations. */
  maxRequests: wholeNumber(0, 1_000_000).optional(),
  /** Organization → its customers' and consumption's Tag. */
  tags: z.record(z.string(), tag, { error: 'is no mapping of organizations to tags' }).default({}),
  organizations: z.array(organizationSchema, { error: 'is no list' }).default([]),
});

/** Settings as they were validated, defaults filled in. */
export type SettingValues = z.infer<typeof settingsSchema>;

export interface Source {
  /** Dotted path in the configuration file and in {@link SettingValues}. */
  readonly path: string;
  readonly flag?: string;
  readonly env?: string;
  /** What it means, where no flag's help tells it: the text of the documentation. */
  readonly meaning?: string;
  /** What holds where it is not set, and the schema has no default for it. */
  readonly unset?: string;
}

/** Where each setting may come from besides the configuration file. */
export const sources: readonly Source[] = [
  { path: 'vault.address', env: 'VAULT_ADDR', meaning: "Vault's address" },
  { path: 'vault.roleId', env: 'VAULT_ROLE_ID', meaning: 'AppRole role id' },
  { path: 'vault.secretId', env: 'VAULT_SECRET_ID', meaning: 'AppRole secret id' },
  {
    path: 'vault.loginPath',
    env: 'VAULT_LOGIN_PATH',
    meaning: 'Where AppRole logs in: a path, or its full URL',
  },
  {
    path: 'vault.awsSecretPath',
    env: 'VAULT_AWS_SECRET_PATH',
    meaning: 'The AWS secret: its path, or its full URL',
    unset: 'none: Vault is not asked for organizations',
  },
  {
    path: 'vault.suiviSecretPath',
    env: 'VAULT_SUIVI_SECRET_PATH',
    meaning: 'The secret of the MySQL database: its path, or its full URL',
    unset: 'none',
  },
  { path: 'vault.namespace', env: 'VAULT_NAMESPACE', meaning: 'Vault namespace', unset: 'none' },
  {
    path: 'vault.caCert',
    env: 'VAULT_CACERT',
    meaning: 'File of a private CA in PEM',
    unset: "the system's CAs",
  },
  {
    path: 'vault.skipVerify',
    env: 'VAULT_SKIP_VERIFY',
    meaning: "Vault's certificate is not checked; every run warns of it",
  },
  { path: 'staging', flag: 'staging', env: 'PIPELINE_STAGING' },
  {
    path: 'database',
    flag: 'database',
    env: 'PIPELINE_DATABASE',
    unset: 'the database of `vault.suiviSecretPath` if that is set, else `sqlite:billing.sqlite`',
  },
  { path: 'parquet', flag: 'parquet' },
  { path: 'concurrency', flag: 'concurrency' },
  { path: 'wait', flag: 'wait' },
  { path: 'timeout', flag: 'timeout' },
  { path: 'detail', flag: 'detail' },
  { path: 'metrics', flag: 'metric' },
  { path: 'byRecordType', flag: 'by-record-type' },
  { path: 'awsTotal', flag: 'aws-total' },
  { path: 'tolerance', flag: 'tolerance' },
  { path: 'maxRequests', flag: 'max-requests', unset: 'no limit' },
  { path: 's3.sse', flag: 's3-sse' },
  { path: 's3.kmsKeyId', flag: 's3-kms-key', unset: "the bucket's" },
  {
    path: 'provisionalDays',
    meaning: "Days after a month's end (UTC) in which its figures are provisional",
  },
  {
    path: 'tags',
    meaning: "Tag of an organization's rows: a mapping of name to Tag",
    unset: '`aws` for every organization',
  },
  {
    path: 'organizations',
    meaning: 'Organizations besides those of the AWS secret: a list, see below',
    unset: 'none',
  },
];

/** How a user knows a setting: `--staging, PIPELINE_STAGING or "staging"`. */
export function nameOf(path: string): string {
  if (path === '') return 'the configuration file';
  // An element of a list is known by the list's own flag.
  const source = sources.find((candidate) => `${path}.`.startsWith(`${candidate.path}.`));
  const names = [
    source?.flag === undefined ? undefined : `--${source.flag}`,
    source?.env,
    `"${path}" in the configuration file`,
  ];
  return names.filter((name) => name !== undefined).join(' or ');
}
