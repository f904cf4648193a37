import { z } from 'zod';
import type { Advice } from '../shared/commands.js';
import { advice, fetchAgain, transformAgain } from '../shared/commands.js';
import type { Breakdown, Dimension } from '../shared/dimensions.js';
import { isBreakdown, isDimension } from '../shared/dimensions.js';
import { DataError } from '../shared/errors.js';
import { parseAmount } from '../shared/money.js';
import { isMonth } from '../shared/month.js';
import type { Outcome } from '../shared/outcome.js';
import { printable } from '../shared/printable.js';
import { isProvisional } from '../shared/provisional.js';
import type { Scope } from '../shared/scope.js';
import { details, furtherMetrics } from '../shared/scope.js';
import type { SumsText } from '../shared/sums.js';
import { difference } from '../shared/sums.js';
import type { Operation, QueryName, Slice, TableName } from './layout.js';
import {
  SCOPE,
  breakdownQueryName,
  extractionKey,
  extractionManifestKey,
  isQueryName,
  pageFile,
  parsePageFile,
  transformManifestKey,
} from './layout.js';
import type { Staging } from './staging.js';
import { readAll } from './staging.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().nonnegative();
const instant = z.iso.datetime();
const month = z.string().refine(isMonth, 'is not a month, YYYY-MM');
/** Currency → sum, in plain decimal notation. */
const totals = z.record(z.string(), z.string().refine(isAmount, 'is no amount'));
/** Further metric or column → currency → sum. */
const namedTotals = z.record(z.string(), totals);

function isAmount(text: string): boolean {
  try {
    parseAmount(text);
    return true;
  } catch (error) {
    if (error instanceof DataError) return false;
    throw error;
  }
}

const breakdown = z.custom<Breakdown>(isBreakdown, 'is no dimension to split by');

const scope: z.ZodType<Scope> = z.object({
  detail: z.enum(details),
  metrics: z.array(z.enum(furtherMetrics)),
  by: z.array(breakdown),
  invoices: z.boolean(),
  billingViewArn: z.string().nullable(),
  costViewArn: z.string().nullable(),
  listAccounts: z.boolean(),
});

const filterDimension = z.enum(['SERVICE', 'USAGE_TYPE', 'REGION']);
export type FilterDimension = z.infer<typeof filterDimension>;

const query = z.object({
  /** The stem of the names of its pages. */
  name: z.custom<QueryName>(isQueryName, 'names no question'),
  /** Dimensions that the cost is grouped by, in the order of each group's keys. */
  groupBy: z.array(z.custom<Dimension>(isDimension, 'is no dimension')),
  /** The values that are asked for, by dimension: all of them have to fit. Absent: everything. */
  filter: z.partialRecord(filterDimension, z.array(z.string())).optional(),
});

/** One question to Cost Explorer; its answer is a chain of pages. */
export type Query = z.infer<typeof query>;

/** The only question of the detail by service. */
export const costQuery: Query = { name: 'cost-and-usage', groupBy: ['SERVICE', 'LINKED_ACCOUNT'] };
/** The same question to the organization's other billing view: what its cost is for the reseller. */
export const costViewQuery: Query = {
  name: 'cost-view',
  groupBy: ['SERVICE', 'LINKED_ACCOUNT'],
};
/** The first one of the detail by usage type; that of the cost by service alone. */
export const usageTypeServices: Query = {
  name: 'usage-type-service',
  groupBy: ['USAGE_TYPE', 'SERVICE'],
};
export const serviceQuery: Query = { name: 'service', groupBy: ['SERVICE'] };

/** The question that tells each account's cost by a dimension. */
export function breakdownQuery(by: Breakdown): Query {
  return { name: breakdownQueryName(by), groupBy: [by, 'LINKED_ACCOUNT'] };
}

/** What a question splits the accounts' cost by; `undefined` for any other question. */
export function breakdownOf({ name, groupBy }: Query): Breakdown | undefined {
  const [by] = groupBy;
  return name.startsWith('by-') && isBreakdown(by) ? by : undefined;
}

/** The services whose cost by AWS is not what their rows add up to, the largest difference first. */
const serviceDifferences = z
  .array(
    z.object({
      service: z.string(),
      metric: z.string(),
      currency: z.string(),
      /** AWS's cost of the service minus its rows. */
      difference: z.string(),
    }),
  )
  .optional();

/** A part of what was asked for that AWS refused by itself, so that the extraction does without it. */
const refusal = z.object({
  /** A dimension as `breakdowns` shows it (`COST_CATEGORY:Product`), or another part that stands by itself. */
  part: z.string().min(1),
  /** AWS's error code, and its words. */
  error: z.string().min(1),
  message: z.string(),
});
export type Refusal = z.infer<typeof refusal>;

/** The part that is the cost view, by its name. */
export function costViewPart(costViewArn: string | null): string {
  return `cost-view:${costViewArn ?? ''}`;
}

/** A refusal as people read it. */
export function describeRefusal({ part, error, message }: Refusal): string {
  return printable(`AWS refused ${part}: ${message} (${error})`);
}

const pages = z.array(z.object({ file: z.string(), bytes: count, sha256, rows: count }));

const extractionFields = z.object({
  format: z.literal(1),
  /** Version of the package that wrote it. */
  version: z.string(),
  month,
  organization: z.string(),
  extraction: z.string(),
  started: instant,
  finished: instant,
  /** Answers that AWS gave to it, by operation. Cost Explorer charges $0.01 for each of its own. */
  requests: z.object({ ListAccounts: count, GetCostAndUsage: count, ListInvoiceSummaries: count }),
  /** Every page, operation by operation; `rows` counts its accounts or groups, 0 for the ungrouped total. */
  pages,
  /** Those of them that are copies, word for word, of another extraction's, and cost this one nothing. Absent: none. */
  takenOver: z.object({ extraction: z.string(), files: z.array(z.string()).min(1) }).optional(),
  accounts: count,
  /** Groups that are rows of the consumption table, and their sums: UnblendedCost, and the other metrics. */
  groups: count,
  totals,
  metrics: namedTotals,
  /** What was asked for. */
  scope,
  /** Every question to Cost Explorer. */
  queries: z.array(query),
  /** The groups of the cost view and their sums; absent where it was not asked, or not had. */
  costView: z.object({ groups: count, totals }).optional(),
  /** The groups of each breakdown that was asked for and not refused, and their sums. */
  breakdowns: z.array(
    z.object({ dimension: breakdown, groups: count, totals, metrics: namedTotals }),
  ),
  /** The invoices, and the account that they are of; null when they were not asked for, or refused. */
  invoices: z.object({ payer: z.string(), rows: count }).nullable(),
  /** The month's ungrouped cost as AWS gives it; null when it was not asked for. */
  awsTotal: totals.nullable(),
  /** The same by every other metric; empty when it was not asked for. */
  awsMetrics: namedTotals,
  /** Present where AWS was asked by service alone, since its total lay too far from the rows. */
  serviceDifferences,
  /** What was asked for and is not here; each part once. It is asked for again when the month is fetched again. */
  refused: z.array(refusal),
  /** Whether AWS called any part of the answer estimated. */
  estimated: z.boolean(),
});

/**
 * Whoever reads a manifest reads the pages that it lists, and no others: what it leaves out, or calls by another
 * name, would be missing without a word.
 */
const extractionManifest = extractionFields.superRefine((manifest, context) => {
  const fault = (message: string): void => {
    context.addIssue({ code: 'custom', message });
  };
  const { pages, queries, accounts, groups, costView, breakdowns, invoices, refused } = manifest;
  if (new Set(refused.map(({ part }) => part)).size < refused.length)
    fault('a part is refused more than once');
  const rows = new Map<Operation, { pages: number; rows: number }>();
  for (const { file, rows: more } of pages) {
    const operation = parsePageFile(file)?.operation;
    const said = JSON.stringify(file.slice(0, 80));
    if (operation === undefined) {
      fault(`${said} is no name of a page`);
      return;
    }
    const before = rows.get(operation) ?? { pages: 0, rows: 0 };
    const here = { pages: before.pages + 1, rows: before.rows + more };
    rows.set(operation, here);
    const expected = pageFile(operation, here.pages);
    if (file !== expected) {
      fault(`${said} stands where ${expected} belongs`);
      return;
    }
    if (
      operation !== 'accounts' &&
      operation !== 'invoices' &&
      !queries.some(({ name }) => name === operation)
    )
      fault(`${said} answers none of the questions`);
  }
  const alien = manifest.takenOver?.files.find((file) => !pages.some((one) => one.file === file));
  if (alien !== undefined)
    fault(`${JSON.stringify(alien.slice(0, 80))} was taken over, and is no page of it`);
  const rowsOf = (operation: Operation): number => rows.get(operation)?.rows ?? 0;
  for (const { name } of queries)
    if (!rows.has(name)) fault(`no page answers the question ${name}`);
  const compare = (what: string, said: number, found: number): void => {
    if (said !== found) fault(`the pages hold ${found} ${what}, the manifest says ${said}`);
  };
  compare('accounts', accounts, rowsOf('accounts'));
  compare('invoices', invoices?.rows ?? 0, rowsOf('invoices'));
  if (queries.some(({ name }) => name === costQuery.name))
    compare('groups', groups, rowsOf('cost-and-usage'));
  compare('groups of the cost view', costView?.groups ?? 0, rowsOf('cost-view'));
  const told = breakdowns.map(({ dimension }) => dimension);
  const answered = queries.flatMap((query) => breakdownOf(query) ?? []);
  if (told.join('\n') !== answered.join('\n'))
    fault('its breakdowns are not those that its questions ask for');
  for (const by of manifest.scope.by)
    if (!told.includes(by) && !refused.some(({ part }) => part === by))
      fault(`${JSON.stringify(by)} was asked for, and is neither told nor refused`);
  for (const { dimension, groups: said } of breakdowns)
    compare(`groups by ${dimension}`, said, rowsOf(breakdownQueryName(dimension)));
});

/** What one extraction holds; written last, so that an extraction without it does not exist. */
export type ExtractionManifest = z.infer<typeof extractionManifest>;

/** Whether a page is an answer of Cost Explorer, which charges for it. */
export function isCostPage(file: string): boolean {
  const operation = parsePageFile(file)?.operation;
  return operation !== undefined && operation !== 'accounts' && operation !== 'invoices';
}

/**
 * Which questions a scope leads to, and their names. A page does not repeat its question's filter: a version
 * that derives other questions takes the next number, so that it does not go on with this one's pages.
 */
const QUESTIONS = 3;

/** What a new extraction takes over from one that lacks a part of what is asked for. */
const takenOver = z.object({
  extraction: z.string(),
  /** The pages that are copied, in the order in which they are staged; files are written and removed by these names. */
  pages: pages.refine((all) => all.every(({ file }) => parsePageFile(file) !== undefined)),
  /** What the ungrouped total has to be once it is asked again, see the other one's `awsTotal` and `awsMetrics`. Absent: it is not asked. */
  total: z.object({ totals, metrics: namedTotals }).optional(),
});
export type TakenOver = z.infer<typeof takenOver>;

const stagedScope = z.object({
  questions: z.literal(QUESTIONS),
  scope,
  takenOver: takenOver.optional(),
});

/** What is to be asked for, and what not, since it is taken over: as it is staged before the first page. */
export function serializeScope(asked: Scope, taken?: TakenOver): Uint8Array {
  const staged: z.infer<typeof stagedScope> = {
    questions: QUESTIONS,
    scope: asked,
    ...(taken === undefined ? {} : { takenOver: taken }),
  };
  return new TextEncoder().encode(`${JSON.stringify(staged, null, 2)}\n`);
}

/** What an extraction asks for, and what it takes over. */
export interface Asked {
  scope: Scope;
  takenOver?: TakenOver | undefined;
}

/** What an extraction asked for; `undefined` when it does not say so, or cannot be read. */
export async function readScope(
  staging: Staging,
  slice: Slice,
  extraction: string,
): Promise<Scope | undefined> {
  return (await readAsked(staging, slice, extraction))?.scope;
}

/** The same with what it takes over. */
export async function readAsked(
  staging: Staging,
  slice: Slice,
  extraction: string,
): Promise<Asked | undefined> {
  const content = await staging.read(extractionKey(slice, extraction, SCOPE));
  if (content === undefined) return undefined;
  try {
    return stagedScope.safeParse(JSON.parse(new TextDecoder().decode(await readAll(content)))).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const exportedFile = z.object({ key: z.string(), bytes: count, sha256 });

const moneyTable = {
  rows: count,
  /** The column Amount, and the other columns of money that hold any value. */
  totals,
  columns: namedTotals,
  /** Amounts that had more than 18 fraction digits and were rounded half to even. */
  rounded: count,
  files: z.array(exportedFile),
};

const breakdownTable = z.object({
  ...moneyTable,
  /** What each dimension's rows add up to. */
  dimensions: z.array(
    z.object({
      dimension: breakdown,
      rows: count,
      totals,
      columns: namedTotals,
      /** Distinct values but the empty one: none means that AWS knows no value of a tag. */
      values: count,
    }),
  ),
});

const transformManifest = z.object({
  format: z.literal(1),
  version: z.string(),
  month,
  organization: z.string(),
  /** The extraction that the tables were made from, and the sha256 of its manifest. */
  extraction: z.string(),
  source: sha256,
  finished: instant,
  tag: z.string(),
  estimated: z.boolean(),
  /** The extraction's, and that minus the rows' sums: null without an ungrouped total. */
  awsTotal: totals.nullable(),
  difference: totals.nullable(),
  /** The same by every other metric that was asked for. */
  awsMetrics: namedTotals,
  serviceDifferences,
  /** When the extraction was finished. */
  fetched: instant,
  /** The tables' columns, see `tableColumns`. */
  columns: z.string(),
  /** What the extraction asked for, and what of it AWS refused. */
  scope,
  refused: z.array(refusal),
  customers: z.object({
    rows: count,
    unlisted: count,
    /** The unlisted accounts, if there are any, and sha256s: of the extractions in which they were looked for, and of what those say of them. */
    elsewhere: z
      .object({ accounts: z.array(z.string()), looked: sha256, found: sha256 })
      .optional(),
    files: z.array(exportedFile),
  }),
  consumption: z.object({
    ...moneyTable,
    /**
     * Where the cost view was had: how many rows of the bill have no cost in it, and how many stand in it alone. These
     * are the last ones, with Amount 0.
     */
    costView: z.object({ onlyBill: count, onlyCost: count }).optional(),
    /** The rows by usage type beside AWS's own figures of pairs; null in the detail by service. */
    pairs: z
      .object({
        compared: count,
        /** The largest difference that rounding does not explain: AWS's figure minus the rows. */
        largest: z
          .object({
            usageType: z.string(),
            service: z.string().nullable(),
            account: z.string().nullable(),
            currency: z.string(),
            difference: z.string(),
          })
          .nullable(),
      })
      .nullable(),
  }),
  /** Absent where the extraction was asked for no breakdown. */
  breakdowns: breakdownTable.optional(),
  /** Absent where the extraction has none, see its manifest. */
  invoices: z.object(moneyTable).optional(),
});

/** What the transform stage made of one slice; written last. */
export type TransformManifest = z.infer<typeof transformManifest>;
export type ExportedFile = z.infer<typeof exportedFile>;

/** What a manifest says of a table's rows and sums; of one that was not made, that there are none. */
export function tableSums(manifest: TransformManifest, table: TableName): SumsText {
  if (table === 'customers') return { rows: manifest.customers.rows, totals: {}, columns: {} };
  const { rows = 0, totals = {}, columns = {} } = manifest[table] ?? {};
  return { rows, totals, columns };
}

/** How many rows of consumption are the bill's: those behind them stand in the cost view alone. */
export function billedRows({ consumption }: Pick<TransformManifest, 'consumption'>): number {
  return consumption.rows - (consumption.costView?.onlyCost ?? 0);
}

/** What a stage did with the tables of a slice. @param provisionalDays see `isProvisional`. */
export function outcomeOf(
  state: Outcome['state'],
  manifest: TransformManifest,
  provisionalDays: number,
): Outcome {
  const { extraction, customers, consumption, awsTotal } = manifest;
  return {
    state,
    extraction,
    provisional: isProvisional({ ...manifest, provisionalDays }),
    customers: customers.rows,
    unlisted: customers.unlisted,
    rows: consumption.rows,
    totals: consumption.totals,
    ...(awsTotal === null ? {} : { differences: difference(awsTotal, consumption.totals) }),
  };
}

/** A manifest as it is staged: indented JSON, so that people can read it too. */
export function serializeManifest(manifest: ExtractionManifest | TransformManifest): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`);
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

async function readManifest<T>(
  staging: Staging,
  key: string,
  schema: z.ZodType<T>,
  remedy: () => Advice,
): Promise<{ manifest: T; bytes: Uint8Array } | undefined> {
  const content = await staging.read(key);
  if (content === undefined) return undefined;
  const bytes = await readAll(content);
  const details = () => ({ where: `${staging.location}/${key}`, ...remedy() });
  let json: unknown;
  try {
    json = JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    throw new DataError('the manifest is not JSON', { ...details(), cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    throw new DataError(
      `the manifest is not one of this version's: ${z.prettifyError(parsed.error)}`,
      details(),
    );
  }
  return { manifest: parsed.data, bytes };
}

/**
 * The manifest of one extraction with its bytes, or `undefined` when the extraction was never finished.
 * @throws {DataError} when the file is no manifest.
 */
export async function readExtractionManifest(
  staging: Staging,
  slice: Slice,
  extraction: string,
): Promise<{ manifest: ExtractionManifest; bytes: Uint8Array } | undefined> {
  const key = extractionManifestKey(slice, extraction);
  return readManifest(staging, key, extractionManifest, () =>
    advice('restore the file, or fetch the month again with', fetchAgain(slice)),
  );
}

/**
 * The transform manifest of a slice with its bytes, or `undefined` when the slice was never transformed.
 * @throws {DataError} when the file is no manifest.
 */
export async function readTransformManifest(
  staging: Staging,
  slice: Slice,
): Promise<{ manifest: TransformManifest; bytes: Uint8Array } | undefined> {
  return readManifest(staging, transformManifestKey(slice), transformManifest, () =>
    advice('make it anew with', transformAgain(slice)),
  );
}
