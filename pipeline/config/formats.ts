import { z } from 'zod';
import type { Breakdown } from '../shared/dimensions.js';
import { breakdownWords, parseBreakdown, sortedBreakdowns } from '../shared/dimensions.js';
import { DataError, PipelineError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import { parseAmount } from '../shared/money.js';
import { nearest } from '../shared/nearest.js';
import { parseThreshold } from '../shared/threshold.js';
import { parseStagingLocation } from '../staging/open.js';
import { parseDatabaseUrl } from './database-address.js';
import { parseQueueUrl } from './queue-address.js';
import type { HookEntry } from './hooks.js';
import { hookKinds, occasions, parseHookAddress } from './hooks.js';
import type { Field, ListedOrganization } from './organization-fields.js';
import { fileFields, roleFields } from './organization-fields.js';

/** The forms that a setting's value may have; each refusal goes on from the setting's name and repeats no value. */

/**
 * A text that ends up in requests, paths and messages, and holds no control character: a line break in it is
 * a slip of whoever pasted it, and no header can carry one.
 */
export const text = z
  .string({ error: 'is no text' })
  .min(1, { error: 'is empty' })
  .regex(/^\P{Cc}*$/u, { error: 'holds a line break or another control character' });

/** A text that goes into an HTTP header, which carries visible ASCII alone. */
export const headerText = text.regex(/^[\x21-\x7e]+$/, {
  error: 'holds a space or a character that an HTTP header cannot carry',
});

export const httpUrl = z.url({ protocol: /^https?$/, error: 'is no http:// or https:// address' });

/** A text that `parse` understands, which says by a {@link PipelineError} what is wrong with another one. */
function parsed<T>(parse: (value: string) => T): z.ZodType<T> {
  return text.transform((value, context): T => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      context.addIssue(`${error.message}${error.next === undefined ? '' : `; ${error.next}`}`);
      return z.NEVER;
    }
  });
}

export const stagingLocation = parsed(parseStagingLocation);

export const databaseUrl = parsed(parseDatabaseUrl);

export const queueUrl = parsed(parseQueueUrl);

/** One of these words. */
export function word<const W extends string>(...words: W[]): z.ZodType<W> {
  return z.enum(words, { error: `is neither ${words.map((one) => `"${one}"`).join(' nor ')}` });
}

/** One of these words, or a mapping of organizations to one each. */
export function wordOrEach<const W extends string>(
  ...words: W[]
): z.ZodType<W | Readonly<Record<string, W>>> {
  const one = word(...words);
  const each = z.record(z.string(), one);
  return z.unknown().transform((value, context): W | Record<string, W> => {
    const isMapping = typeof value === 'object' && !Array.isArray(value);
    const parsed = (isMapping ? each : one).safeParse(value);
    if (parsed.success) return parsed.data;
    for (const { path, message } of parsed.error.issues)
      context.addIssue({ code: 'custom', path, message });
    return z.NEVER;
  });
}

/** Some of these words, in their order, each once; those of `implied` may be named and change nothing. */
export function words<const W extends string>(all: readonly W[], implied: string): z.ZodType<W[]> {
  const one = z.enum([...all, implied], { error: `is none of ${all.join(', ')}` });
  return z
    .array(one, { error: 'is no list' })
    .transform((given) => all.filter((each) => given.includes(each)));
}

/** What the accounts' cost is split by, each once, in order; `none` alone is an empty list. */
export const breakdowns: z.ZodType<Breakdown[]> = z
  .array(z.string({ error: 'is no text' }), { error: 'is no list' })
  .transform((given, context) => {
    if (given.length === 1 && given[0] === 'none') return [];
    const found = given.flatMap((text, index): Breakdown[] => {
      const one = parseBreakdown(text);
      if (one !== undefined) return [one];
      context.addIssue({ code: 'custom', path: [index], message: breakdownFault(text) });
      return [];
    });
    return sortedBreakdowns(found);
  });

/** What is wrong with a text that names no breakdown. */
function breakdownFault(text: string): string {
  if (text === 'none') return 'is none among others: it takes back all, and stands alone';
  const [head = ''] = text.split(':', 1);
  const near = nearest(head, ['tag', 'cost-category', ...breakdownWords]);
  const keyed = breakdownWords.find((one) => one.startsWith(`${near ?? ''}:`)) ?? near;
  if (keyed === 'tag:KEY')
    return 'names no tag: write tag: and its key, with at most 128 characters';
  if (keyed === 'cost-category:NAME')
    return 'names no cost category: write cost-category: and its name, with at most 128 characters';
  if (near !== undefined && near !== head) return `is nothing to split by; did you mean ${near}?`;
  return `is none of ${breakdownWords.join(', ')}`;
}

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

export const trueOrFalse = oneOf({ true: true, false: false });

/** Vault's own variable is written as Vault's command line takes it (Go, strconv.ParseBool). */
export const vaultBoolean = oneOf({
  ...{ true: true, t: true, 1: true },
  ...{ false: false, f: false, 0: false },
});

/** An exact amount, not negative, in plain decimal notation. */
export const amount = written.transform((value, context): Units => {
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

export const reportFormatNames = ['html', 'xlsx', 'pdf'] as const;
export type ReportFormat = (typeof reportFormatNames)[number];

/** Formats of a report with commas between, `html,pdf`: each once, in the order that they are made. */
export const reportFormats = text.transform((value, context): ReportFormat[] => {
  const given = value.split(',').map((one) => one.trim());
  const chosen = reportFormatNames.filter((name) => given.includes(name));
  if (given.every((one) => chosen.some((name) => name === one))) return chosen;
  context.addIssue(`is no list of ${reportFormatNames.join(', ')} with commas between`);
  return z.NEVER;
});

/** A language that `Intl` writes numbers in, in its canonical form. */
export const locale = text.transform((value, context): string => {
  try {
    const [known] = Intl.NumberFormat.supportedLocalesOf(value);
    if (known !== undefined) return known;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  context.addIssue('is no language that is known here, such as en, de-CH or fr');
  return z.NEVER;
});

/** A customer of several accounts, as reports tell it. */
export interface CustomerGroup {
  name: string;
  accounts: readonly string[];
}

const accountId = z
  .string({ error: 'is no text' })
  .regex(/^\d{12}$/, { error: 'is no account id of 12 digits' });

/** One customer of several accounts. */
export const customerGroup = z.strictObject({
  name: text.max(255, { error: 'has more than 255 characters' }),
  accounts: z
    .array(accountId, { error: 'is no list of account ids' })
    .min(1, { error: 'names no account' }),
});

/** Customers of several accounts: each name and each account once. */
export const customers = z
  .array(customerGroup, { error: 'is no list' })
  .superRefine((groups, context) => {
    const names = new Set<string>();
    const owners = new Map<string, string>();
    const fault = (message: string): void => {
      context.addIssue({ code: 'custom', message });
    };
    for (const { name, accounts } of groups) {
      if (names.has(name)) fault(`names the customer ${JSON.stringify(name)} twice`);
      names.add(name);
      for (const account of accounts) {
        const owner = owners.get(account);
        if (owner !== undefined)
          fault(
            owner === name
              ? `names account ${account} twice, in ${JSON.stringify(name)}`
              : `gives account ${account} to ${JSON.stringify(owner)} and to ${JSON.stringify(name)}`,
          );
        owners.set(account, name);
      }
    }
  });

/** The name of an environment variable: a value that is none may be the secret itself, and is not repeated. */
const variable = z
  .string({ error: 'is no text' })
  .regex(/^[A-Za-z_]\w*$/, { error: 'is no name of an environment variable' });

/** One value, or a list of them. */
function oneOrMore<T>(value: z.ZodType<T>, none: string): z.ZodType<T[]> {
  const all = z.array(value).min(1, { error: none });
  return z.preprocess(
    (given): unknown[] => (Array.isArray(given) ? (given as unknown[]) : [given]),
    all,
  );
}

const hookAddress = parsed(parseHookAddress).optional();
const itsVariable = variable.optional();

/** The keys of an entry of `notify`. */
export const hookEntry = z.strictObject({
  webhook: hookAddress,
  webhookFrom: itsVariable,
  slack: hookAddress,
  slackFrom: itsVariable,
  teams: hookAddress,
  teamsFrom: itsVariable,
  secretFrom: itsVariable,
  on: oneOrMore(word(...occasions), 'names no occasion').optional(),
  threshold: oneOrMore(
    parsed((given) => parseThreshold(given, 'threshold')),
    'is empty',
  ).optional(),
});

/** Who is told of a run, and when. */
export const hooks = z.array(
  hookEntry.transform((given, context): HookEntry => {
    const fault = (message: string, ...path: string[]): void => {
      context.addIssue({ code: 'custom', path, message });
    };
    const { secretFrom, on = ['failure'], threshold: thresholds = [] } = given;
    const places = hookKinds
      .map((kind) => ({ kind, address: given[kind], addressFrom: given[`${kind}From`] }))
      .flatMap(({ kind, address, addressFrom }) => [
        ...(address === undefined ? [] : [{ kind, address, addressFrom: undefined }]),
        ...(addressFrom === undefined ? [] : [{ kind, address: undefined, addressFrom }]),
      ]);
    const [place] = places;
    if (place === undefined || places.length > 1) {
      const keys = hookKinds.flatMap((kind) => [kind, `${kind}From`]);
      fault(
        `names ${places.length === 0 ? 'no place' : 'more than one place'}; take one of ${keys.join(', ')}`,
      );
      return z.NEVER;
    }
    const isSigned = place.kind === 'webhook';
    if (isSigned && secretFrom === undefined)
      fault('is missing: the variable with the secret that signs', 'secretFrom');
    if (!isSigned && secretFrom !== undefined) fault('goes with a webhook only', 'secretFrom');
    if (thresholds.length > 0 && !on.includes('restated'))
      fault('goes with "restated" only', 'threshold');
    return { ...place, secretFrom, on, thresholds };
  }),
  { error: 'is no list' },
);

const tag = text.max(64, { error: 'has more than 64 characters' });

/** Organization → its rows' Tag. */
export const tags = z.record(z.string(), tag, { error: 'is no mapping of organizations to tags' });

function fieldSchema({ type, pattern, write }: Field): z.ZodType {
  if (type === 'boolean') return trueOrFalse;
  if (type === 'tag') return tag;
  if (pattern === undefined) return text;
  return z
    .string({ error: 'is no text' })
    .regex(pattern, { error: `is malformed; ${write ?? ''}` });
}

const optionalFields = Object.fromEntries(
  fileFields
    .filter(([key]) => key !== 'name')
    .map(([key, field]) => [key, fieldSchema(field).optional()]),
);

/** Organizations that Vault does not tell, with the keys that are declared for the file. */
export const organizations = z.array(
  z
    .strictObject({ name: text, ...optionalFields })
    .superRefine((given: Readonly<Record<string, unknown>>, context) => {
      const [role = '', ...further] = roleFields;
      if (given[role] === undefined && further.some((key) => given[key] !== undefined))
        context.addIssue({
          code: 'custom',
          path: [role],
          message: `is missing; ${further.join(' and ')} go with it only`,
        });
    })
    .transform((given) => given as unknown as ListedOrganization),
  { error: 'is no list' },
);
