import { stages } from '../config/selection.js';
import { UsageError } from '../shared/errors.js';
import { logLevels } from '../shared/log.js';
import { furtherMetrics } from '../shared/scope.js';

/** Flags that choose what a command works on. A repeatable flag takes one value each time. */
export const selectionOptions = {
  stage: {
    type: 'string',
    array: true,
    nargs: 1,
    requiresArg: true,
    describe: `Stage to run, repeatable: ${stages.join(', ')} (default: all)`,
  },
  month: {
    type: 'string',
    array: true,
    nargs: 1,
    requiresArg: true,
    describe: 'Month YYYY-MM, repeatable (default: the last complete one, UTC)',
  },
  from: { type: 'string', requiresArg: true, describe: 'First month of a range, with --to' },
  to: { type: 'string', requiresArg: true, describe: 'Last month of a range, with --from' },
  organization: {
    type: 'string',
    array: true,
    nargs: 1,
    requiresArg: true,
    describe: 'Organization, repeatable (default: all)',
  },
} as const;

/** Flags for settings and output that every command with a run shares. */
export const settingOptions = {
  'staging': {
    type: 'string',
    requiresArg: true,
    describe: 'Staging area: FOLDER or s3://bucket/prefix (default ./staging)',
  },
  'database': {
    type: 'string',
    requiresArg: true,
    describe: 'mysql://…, mariadb://… or sqlite:FILE, without a password',
  },
  'parquet': {
    type: 'string',
    requiresArg: true,
    describe: 'standard, or basic: plain types beside it for old readers',
  },
  'config': {
    type: 'string',
    requiresArg: true,
    describe: 'Configuration file (default pipeline.config.yaml, if there)',
  },
  'concurrency': { type: 'string', requiresArg: true, describe: 'Tasks at once (default 8)' },
  'wait': {
    type: 'string',
    requiresArg: true,
    describe: 'Seconds to wait for another run of the same month and organization (default 0)',
  },
  'timeout': {
    type: 'string',
    requiresArg: true,
    describe: 'Seconds after which a request without an answer is given up (default 60)',
  },
  'detail': {
    type: 'string',
    requiresArg: true,
    describe:
      'service, or usage-type: rows by service and usage type, with quantities (default service)',
  },
  'metric': {
    type: 'string',
    array: true,
    nargs: 1,
    requiresArg: true,
    describe: `Cost metric beside UnblendedCost, repeatable: ${furtherMetrics.join(', ')}; costs no further request`,
  },
  'by-record-type': {
    type: 'boolean',
    describe:
      'Split the cost of each account into usage, credit, refund, tax … in the table charges: one more question',
  },
  'aws-total': {
    type: 'boolean',
    describe:
      "Ask AWS for the month's ungrouped total too (default); --no-aws-total saves its $0.01",
  },
  'tolerance': {
    type: 'string',
    requiresArg: true,
    describe: "Largest difference from AWS's total that is loaded (default 0.01 of the currency)",
  },
  's3-sse': {
    type: 'string',
    requiresArg: true,
    describe: 'Encryption of what is staged on S3: AES256 or aws:kms (default: as the bucket says)',
  },
  's3-kms-key': { type: 'string', requiresArg: true, describe: 'Key for --s3-sse aws:kms' },
  'json': { type: 'boolean', default: false, describe: 'Print the result as one JSON document' },
  'log-file': {
    type: 'string',
    requiresArg: true,
    describe: 'Append a log of JSON lines to this file',
  },
  'log-level': {
    type: 'string',
    requiresArg: true,
    choices: logLevels,
    default: 'warn',
    describe: 'What the log on standard error shows',
  },
} as const;

/**
 * Refuses what a flag cannot mean: twice a value where there is one, an empty value (of a shell's variable that
 * is not set), and a switch with another word than true or false, which would be read as false.
 * @param words the command line as it was given.
 * @throws {UsageError} naming the flag.
 */
export function onlyUsable(
  args: Readonly<Record<string, unknown>>,
  words: readonly string[],
): true {
  const options: Readonly<Record<string, object>> = { ...selectionOptions, ...settingOptions };
  for (const [flag, value] of Object.entries(args)) {
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (flag !== '_' && values.some((one) => typeof one === 'string' && one.trim() === ''))
      throw new UsageError(`--${flag} is empty`, { next: 'give it a value, or leave it out' });
    const isSwitch = typeof value === 'boolean';
    if (isSwitch && words.some((word) => word.startsWith(`--${flag}=`) && !isTruth(word)))
      throw new UsageError(`--${flag} is neither true nor false`, { next: 'give it alone' });
    if (!Array.isArray(value) || flag === '_' || 'array' in (options[flag] ?? {})) continue;
    throw new UsageError(`--${flag} is given more than once`, { next: 'give it once' });
  }
  return true;
}

const isTruth = (word: string): boolean => /=(true|false)$/.test(word);

/** The flags of this run that a resuming command needs too, as words. */
export function settingWords(args: Readonly<Record<string, unknown>>): string[] {
  // Without --force the month's former extraction would do, and the stopped one would stay unfinished.
  const force = args['force'] === true ? ['--force'] : [];
  if (args['accept-empty'] === true) force.push('--accept-empty');
  const settings = [
    'staging',
    's3-sse',
    's3-kms-key',
    'database',
    'parquet',
    'config',
    'concurrency',
    'wait',
    'timeout',
    'detail',
    'metric',
    'by-record-type',
    'aws-total',
    'tolerance',
    'max-requests',
  ].flatMap((flag) => {
    const value = args[flag];
    if (typeof value === 'boolean') return [value ? `--${flag}` : `--no-${flag}`];
    const values: unknown[] = Array.isArray(value) ? value : [value];
    return values.flatMap((one) => (typeof one === 'string' ? [`--${flag}`, one] : []));
  });
  return [...force, ...settings];
}
