import type { z } from 'zod';
import { details, furtherMetrics } from '../shared/scope.js';
import type * as formats from './formats.js';

/**
 * A setting, declared once: from here come its flag with the help, its variable, its key of the configuration
 * file, its validation, the words of a command that resumes a run, and its row of the documentation.
 */
export interface Setting {
  /** Its flag on the command line. */
  flag?: string;
  /** How the flag is given, where not with one value: alone or as `--no-…`, or with a value each of several times. */
  given?: 'alone' | 'repeatedly';
  /** Its environment variable; an empty one counts as unset, as the AWS and Vault command lines take it. */
  env?: string;
  /** What it means: the text of the flag's help and of the documentation. */
  meaning: string;
  /** What holds where nobody sets it, as it would be written. */
  default?: string | number | boolean | object;
  /** What the default counts, for people. */
  unit?: string;
  /** What holds where nobody sets it, for people, where no value says it. */
  unset?: string;
  /** What it must look like; what validates loads with the first command that has settings. */
  schema: (of: typeof formats) => z.ZodType;
}

/** Every setting, by its key in the configuration file, where a dot is a level. */
export const settings = {
  'vault.address': {
    env: 'VAULT_ADDR',
    meaning: "Vault's address",
    schema: ({ httpUrl }) => httpUrl,
  },
  'vault.roleId': {
    env: 'VAULT_ROLE_ID',
    meaning: 'AppRole role id',
    schema: ({ text }) => text,
  },
  'vault.secretId': {
    env: 'VAULT_SECRET_ID',
    meaning: 'AppRole secret id',
    schema: ({ text }) => text,
  },
  'vault.loginPath': {
    env: 'VAULT_LOGIN_PATH',
    meaning: 'Where AppRole logs in: a path, or its full URL',
    default: 'auth/approle/login',
    schema: ({ text }) => text,
  },
  'vault.awsSecretPath': {
    env: 'VAULT_AWS_SECRET_PATH',
    meaning: 'The AWS secret: its path, or its full URL',
    unset: 'none: Vault is not asked for organizations',
    schema: ({ text }) => text,
  },
  'vault.suiviSecretPath': {
    env: 'VAULT_SUIVI_SECRET_PATH',
    meaning: 'The secret of the MySQL database: its path, or its full URL',
    unset: 'none',
    schema: ({ text }) => text,
  },
  'vault.namespace': {
    env: 'VAULT_NAMESPACE',
    meaning: 'Vault namespace, sent as X-Vault-Namespace',
    unset: 'none',
    schema: ({ headerText }) => headerText,
  },
  'vault.caCert': {
    env: 'VAULT_CACERT',
    meaning: 'File of a private CA in PEM',
    unset: "the system's CAs",
    schema: ({ text }) => text,
  },
  'vault.skipVerify': {
    env: 'VAULT_SKIP_VERIFY',
    meaning: "Vault's certificate is not checked; every run warns of it",
    default: false,
    schema: ({ vaultBoolean }) => vaultBoolean,
  },
  'staging': {
    flag: 'staging',
    env: 'PIPELINE_STAGING',
    meaning: 'Staging area: FOLDER or s3://bucket/prefix',
    default: './staging',
    schema: ({ stagingLocation }) => stagingLocation,
  },
  'database': {
    flag: 'database',
    env: 'PIPELINE_DATABASE',
    meaning: 'mysql://…, mariadb://… or sqlite:FILE, without a password',
    unset: 'the database of `vault.suiviSecretPath` if that is set, else `sqlite:billing.sqlite`',
    schema: ({ databaseUrl }) => databaseUrl,
  },
  'parquet': {
    flag: 'parquet',
    meaning: 'standard, or basic: plain types beside it for old readers',
    default: 'standard',
    schema: ({ word }) => word('standard', 'basic'),
  },
  'concurrency': {
    flag: 'concurrency',
    meaning: 'Tasks at once',
    default: 8,
    schema: ({ wholeNumber }) => wholeNumber(1, 64),
  },
  'loadConcurrency': {
    flag: 'load-concurrency',
    meaning: 'Loads at once over all workers of a queue: the database is one',
    default: 4,
    schema: ({ wholeNumber }) => wholeNumber(1, 64),
  },
  'wait': {
    flag: 'wait',
    meaning: 'Seconds to wait for another run of the same month and organization',
    default: 0,
    schema: ({ wholeNumber }) => wholeNumber(0, 604_800),
  },
  'timeout': {
    flag: 'timeout',
    meaning: 'Seconds after which a request without an answer is given up',
    default: 60,
    schema: ({ wholeNumber }) => wholeNumber(1, 3600),
  },
  'detail': {
    flag: 'detail',
    meaning:
      'service, or usage-type: rows by service and usage type, with quantities; the file may map organizations to their own',
    unset: 'as the month is staged, else `service`',
    schema: ({ wordOrEach }) => wordOrEach(...details),
  },
  'metrics': {
    flag: 'metric',
    given: 'repeatedly',
    meaning: `Cost metric beside UnblendedCost, repeatable: ${furtherMetrics.join(', ')}; costs no further request`,
    unset: 'those of the staged month, else none',
    schema: ({ words }) => words(furtherMetrics, 'UnblendedCost'),
  },
  'by': {
    flag: 'by',
    given: 'repeatedly',
    meaning:
      "Split each account's cost in the table breakdowns too, repeatable: record-type, region … (every dimension of Cost Explorer), tag:KEY or cost-category:NAME; each is one more question ($0.01 a page). A month keeps those it has, until none takes them back",
    unset: 'as the month is staged, else none',
    schema: ({ breakdowns }) => breakdowns,
  },
  'invoices': {
    flag: 'invoices',
    given: 'alone',
    meaning:
      'Ask the Invoicing API for the invoices of the month too, for the table invoices; costs no Cost Explorer request, but one for the total of a month that is there without them',
    unset: 'as the month is staged, else `false`',
    schema: ({ trueOrFalse }) => trueOrFalse,
  },
  'awsTotal': {
    flag: 'aws-total',
    given: 'alone',
    meaning:
      "Ask AWS for the month's ungrouped total too (default); --no-aws-total saves its $0.01",
    default: true,
    schema: ({ trueOrFalse }) => trueOrFalse,
  },
  'tolerance': {
    flag: 'tolerance',
    meaning: "Largest difference from AWS's total that is loaded",
    default: '0.01',
    unit: 'of the currency',
    schema: ({ amount }) => amount,
  },
  'toleranceInvoice': {
    flag: 'tolerance-invoice',
    meaning:
      'Largest difference between invoices and cost with which reconcile exits with 0; loads are never held up by it',
    unset: 'none: the difference is only shown',
    schema: ({ amount }) => amount,
  },
  'maxRequests': {
    flag: 'max-requests',
    meaning:
      'Stop before the Cost Explorer request ($0.01 each) that would exceed this number; what is staged is kept, and the next run goes on',
    unset: 'no limit',
    schema: ({ wholeNumber }) => wholeNumber(0, 1_000_000),
  },
  'queue.address': {
    flag: 'queue',
    env: 'PIPELINE_QUEUE',
    meaning:
      'Redis that holds the queue of several machines: redis://[USER@]HOST[:PORT][/DATABASE], or rediss:// for TLS; without a password',
    unset: 'none: this process does the work itself',
    schema: ({ queueUrl }) => queueUrl,
  },
  'queue.password': {
    env: 'PIPELINE_QUEUE_PASSWORD',
    meaning: "Redis's password",
    unset: 'none',
    schema: ({ text }) => text,
  },
  'queue.keepDays': {
    meaning: 'Days that jobs and their results stay in Redis after their end',
    default: 7,
    schema: ({ wholeNumber }) => wholeNumber(1, 365),
  },
  's3.sse': {
    flag: 's3-sse',
    meaning: 'Encryption of what is staged on S3: AES256 or aws:kms',
    unset: 'as the bucket says',
    schema: ({ word }) => word('AES256', 'aws:kms'),
  },
  's3.kmsKeyId': {
    flag: 's3-kms-key',
    meaning: 'Key for --s3-sse aws:kms',
    unset: "the bucket's",
    schema: ({ text }) => text,
  },
  'report.out': {
    flag: 'out',
    meaning: 'Folder of the reports, with one folder a month',
    default: './report',
    schema: ({ text }) => text,
  },
  'report.formats': {
    flag: 'format',
    meaning: 'What a report is made of: html, xlsx and pdf, with commas between',
    default: 'html,xlsx',
    schema: ({ reportFormats }) => reportFormats,
  },
  'report.title': {
    meaning: 'Who makes the report: the text above each of its pages',
    unset: 'none',
    schema: ({ text }) => text,
  },
  'report.logo': {
    meaning: 'PNG or SVG file, at most 256 KiB, that is put into each page',
    unset: 'none',
    schema: ({ text }) => text,
  },
  'report.footer': {
    meaning: 'The text below each page',
    unset: 'none',
    schema: ({ text }) => text,
  },
  'report.locale': {
    meaning:
      'How numbers and dates of the pages are written: a language as BCP 47 names it, `de-CH`',
    default: 'en',
    schema: ({ locale }) => locale,
  },
  'report.currency': {
    meaning: 'How the pages write a currency: `code` (USD), or `symbol` as the locale has it ($)',
    default: 'code',
    schema: ({ word }) => word('code', 'symbol'),
  },
  'customers': {
    meaning: 'Customers of several accounts, in reports: a list, see below',
    default: [],
    unset: 'none: each account is a customer',
    schema: ({ customers }) => customers,
  },
  'notify': {
    meaning:
      'Who is told of a run, and when: a list of webhooks, Slack and Teams, see docs/operations.md',
    default: [],
    unset: 'none: nobody is told',
    schema: ({ hooks }) => hooks,
  },
  'provisionalDays': {
    meaning: "Days after a month's end (UTC) in which its figures are provisional",
    default: 10,
    schema: ({ wholeNumber }) => wholeNumber(0, 365),
  },
  'tags': {
    meaning: "Tag of an organization's rows: a mapping of name to Tag",
    default: {},
    unset: '`aws` for every organization',
    schema: ({ tags }) => tags,
  },
  'organizations': {
    meaning:
      'Organizations besides those of the AWS secret: a list, each with its name and keys such as profile',
    default: [],
    unset: 'none',
    schema: ({ organizations }) => organizations,
  },
} as const satisfies Record<string, Setting>;

type Settings = typeof settings;
type Path = keyof Settings;
type ValueOf<P extends Path> =
  | z.output<ReturnType<Settings[P]['schema']>>
  | (Settings[P] extends { default: unknown } ? never : undefined);
type Group<G extends string> = {
  [P in Path as P extends `${G}.${infer Key}` ? Key : never]: ValueOf<P>;
};

/** The settings as they were validated, defaults filled in. */
export type SettingValues = {
  [P in Path as P extends `${string}.${string}` ? never : P]: ValueOf<P>;
} & { vault: Group<'vault'>; s3: Group<'s3'>; report: Group<'report'>; queue: Group<'queue'> };

const entries: readonly (readonly [string, Setting])[] = Object.entries(settings);

/** How a user knows a setting: `--staging, PIPELINE_STAGING or "staging"`. */
export function nameOf(path: string): string {
  if (path === '') return 'the configuration file';
  // An element of a list is known by the list's own flag.
  const [, { flag, env } = {}] = entries.find(([own]) => `${path}.`.startsWith(`${own}.`)) ?? [];
  const names = [
    flag === undefined ? undefined : `--${flag}`,
    env,
    `"${path}" in the configuration file`,
  ];
  return names.filter((name) => name !== undefined).join(' or ');
}

type FlagOf<S> = S extends { flag: infer F extends string } ? F : never;

/** A flag as yargs takes it. */
interface FlagOptions {
  type: 'string' | 'boolean';
  array?: true;
  nargs?: 1;
  requiresArg?: true;
  describe: string;
}

/** The settings' flags by name. */
export const settingFlags = Object.fromEntries(
  entries.flatMap(([, setting]) =>
    setting.flag === undefined ? [] : [[setting.flag, flagOptions(setting)]],
  ),
) as Record<FlagOf<Settings[Path]>, FlagOptions>;

function flagOptions({ given, meaning, default: value, unit, unset }: Setting): FlagOptions {
  const isTold = typeof value === 'string' || typeof value === 'number';
  const told = isTold ? ` ${value}${unit === undefined ? '' : ` ${unit}`}` : unset && `: ${unset}`;
  const describe = told === undefined ? meaning : `${meaning} (default${told.replaceAll('`', '')})`;
  if (given === 'alone') return { type: 'boolean', describe };
  if (given === 'repeatedly')
    return { type: 'string', array: true, nargs: 1, requiresArg: true, describe };
  return { type: 'string', requiresArg: true, describe };
}

/**
 * The configuration file and the settings among a command's flags, as the words of a command that is to do the same.
 * @param declared the command's own flags: one that only has a setting's name is none.
 */
export function settingWords(
  flags: Readonly<Record<string, unknown>>,
  declared: Readonly<Record<string, unknown>>,
): string[] {
  const given = Object.entries(settingFlags).filter(
    ([flag, setting]) => declared[flag] === setting,
  );
  return ['config', ...given.map(([flag]) => flag)].flatMap((flag) => {
    const value = flags[flag];
    if (typeof value === 'boolean') return [value ? `--${flag}` : `--no-${flag}`];
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    return values.flatMap((one) => (typeof one === 'string' ? [`--${flag}`, one] : []));
  });
}
