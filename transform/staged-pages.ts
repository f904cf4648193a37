import { z } from 'zod';
import { advice, fetchAgain, nextRun } from '../pipeline/shared/commands.js';
import type { Dimension } from '../pipeline/shared/dimensions.js';
import { definitionOf, keyPositions, valueIn } from '../pipeline/shared/dimensions.js';
import { DataError, throwIfInterrupted } from '../pipeline/shared/errors.js';
import type { ParsedAmount } from '../pipeline/shared/money.js';
import { parseAmount } from '../pipeline/shared/money.js';
import { printable } from '../pipeline/shared/printable.js';
import type { Metric } from '../pipeline/shared/scope.js';
import type {
  StagedAccounts,
  StagedCost,
  StagedGroup,
  StagedInvoice,
  StagedTotal,
} from '../pipeline/staging/answers.js';
import {
  accountIdFault,
  answerJson,
  invoiceSummaries,
  parseStagedCost,
  periodFault,
  stagedAccounts,
  stagedTotal,
  textFault,
} from '../pipeline/staging/answers.js';
import { survey } from '../pipeline/staging/extractions.js';
import type { Operation, QueryName, Slice } from '../pipeline/staging/layout.js';
import { extractionKey, extractionManifestKey, parsePageFile } from '../pipeline/staging/layout.js';
import type { ExtractionManifest, FilterDimension, Query } from '../pipeline/staging/manifest.js';
import { breakdownOf, readExtractionManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAll, sha256Of } from '../pipeline/staging/staging.js';
import type { Column } from '../pipeline/staging/tables.js';

/** A finished extraction, as the transform stage reads it. */
export interface FinishedExtraction {
  staging: Staging;
  slice: Slice;
  manifest: ExtractionManifest;
}

/** A staged answer of ListAccounts. */
export interface AccountsPage {
  /** The file, as people find it. */
  where: string;
  accounts: StagedAccounts['Accounts'];
}

/** A staged answer to a question that groups. */
export interface CostPage {
  where: string;
  /** Whoever has read them may empty the list. */
  groups: StagedGroup[];
  /** AWS's own flag: the figures may still change. */
  estimated: boolean;
  /** How the groups tell a dimension's value. */
  keyOf: (dimension: Dimension) => KeyReader;
  /** What the answer tells of its dimensions' values beside the groups, such as an account's name. */
  descriptions: NonNullable<StagedCost['DimensionValueAttributes']>;
}

/** Reads one dimension's value of a group. */
export type KeyReader = (group: StagedGroup, place: Place) => string;

/** The staged answer with the ungrouped total: its cost by metric. */
export interface TotalPage {
  where: string;
  total: NonNullable<StagedTotal['ResultsByTime'][number]['Total']>;
}

/**
 * The staged answers of ListAccounts, one at a time, in the order they were asked for.
 * @throws {DataError} when a page is missing, altered, truncated or not what AWS answers.
 */
export async function* accountsPages(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): AsyncGenerator<AccountsPage> {
  const form: Form<StagedAccounts> = {
    parse: (json) => stagedAccounts.safeParse(json),
    rows: ({ Accounts }) => Accounts.length,
    // Each account is looked at as it becomes a customer.
    fault: () => undefined,
  };
  for await (const { where, answer } of stagedAnswers(extraction, 'accounts', form, signal))
    yield { where, accounts: answer.Accounts };
}

/**
 * The staged answers to a grouping question, one at a time, in the order they were asked for.
 * @throws {DataError} when a page is missing, altered, truncated or not what AWS answers.
 */
export async function* costPages(
  extraction: FinishedExtraction,
  query: Query,
  signal: AbortSignal,
): AsyncGenerator<CostPage> {
  const form: Form<StagedCost> = {
    parse: parseStagedCost,
    rows: ({ ResultsByTime }) =>
      ResultsByTime.reduce((sum, { Groups = [] }) => sum + Groups.length, 0),
    fault: wrongPeriod(extraction, query.name),
  };
  for await (const { where, answer } of stagedAnswers(extraction, query.name, form, signal)) {
    const { GroupDefinitions = [], DimensionValueAttributes: descriptions = [] } = answer;
    // One period at most, see periodFault.
    const [{ Groups: groups = [], Estimated: estimated = false } = {}] = answer.ResultsByTime;
    yield { where, groups, estimated, keyOf: keyReader(GroupDefinitions, query), descriptions };
  }
}

/**
 * The staged answer with the ungrouped total; none where it was not asked for.
 * @throws {DataError} when it is missing, altered, truncated or not what AWS answers.
 */
export async function* totalPages(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): AsyncGenerator<TotalPage> {
  const form: Form<StagedTotal> = {
    parse: (json) => stagedTotal.safeParse(json),
    rows: () => 0,
    fault: wrongPeriod(extraction, 'total'),
  };
  for await (const { where, answer } of stagedAnswers(extraction, 'total', form, signal))
    yield { where, total: answer.ResultsByTime[0]?.Total ?? {} };
}

/** A staged answer of ListInvoiceSummaries. */
export interface InvoicesPage {
  where: string;
  invoices: readonly StagedInvoice[];
}

/**
 * The staged answers of ListInvoiceSummaries, one at a time; none where they were not asked for, or refused.
 * @throws {DataError} when a page is missing, altered, truncated or not what AWS answers.
 */
export async function* invoicesPages(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): AsyncGenerator<InvoicesPage> {
  const form: Form<z.infer<typeof invoiceSummaries>> = {
    parse: (json) => invoiceSummaries.safeParse(json),
    rows: ({ InvoiceSummaries }) => InvoiceSummaries.length,
    // Each invoice is looked at as it becomes a row.
    fault: () => undefined,
  };
  for await (const { where, answer } of stagedAnswers(extraction, 'invoices', form, signal))
    yield { where, invoices: answer.InvoiceSummaries };
}

/** What keeps a question's page from telling the month's cost. */
function wrongPeriod(
  { slice, manifest }: FinishedExtraction,
  query: QueryName,
): (answer: Pick<StagedCost | StagedTotal, 'ResultsByTime'>) => string | undefined {
  const isSinglePage =
    manifest.pages.filter(({ file }) => parsePageFile(file)?.operation === query).length === 1;
  return ({ ResultsByTime }) => {
    const fault = periodFault(ResultsByTime, slice.month, isSinglePage);
    return fault === undefined ? undefined : `it ${fault}`;
  };
}

/** What an operation's answers have to be. */
interface Form<Answer> {
  parse: (json: unknown) => z.ZodSafeParseResult<Answer>;
  rows: (answer: Answer) => number;
  /** What is wrong with an answer of the right form. */
  fault: (answer: Answer) => string | undefined;
}

async function* stagedAnswers<Answer>(
  { staging, slice, manifest }: FinishedExtraction,
  operation: Operation,
  form: Form<Answer>,
  signal: AbortSignal,
): AsyncGenerator<{ where: string; answer: Answer }> {
  const remedy = advice('restore the file, or fetch the month again with', fetchAgain(slice));
  const query = manifest.queries.find(({ name }) => name === operation);
  const by = query && breakdownOf(query);
  // Its file has a name that nobody reads a tag's key from.
  const page = by === undefined ? 'a staged page' : `a staged page by ${printable(by)}`;
  for (const listed of manifest.pages) {
    if (parsePageFile(listed.file)?.operation !== operation) continue;
    throwIfInterrupted(signal);
    const key = extractionKey(slice, manifest.extraction, listed.file);
    const where = `${staging.location}/${key}`;
    const fault = (message: string, cause?: unknown): DataError =>
      new DataError(`${page} ${message}`, { where, ...remedy, cause });

    const stream = await staging.read(key);
    if (stream === undefined) throw fault('is missing');
    const bytes = await readAll(stream);
    if (bytes.length !== listed.bytes) {
      throw fault(
        `has ${bytes.length} bytes, its manifest says ${listed.bytes}: it was cut or altered`,
      );
    }
    if (sha256Of(bytes) !== listed.sha256) {
      throw fault('was altered: its sha256 is not the one in its manifest');
    }
    let json: unknown;
    try {
      json = answerJson(bytes);
    } catch (cause) {
      throw fault('is not JSON', cause);
    }
    const parsed = form.parse(json);
    if (!parsed.success) throw fault(`is not AWS's answer: ${firstIssue(parsed)}`);
    const rows = form.rows(parsed.data);
    if (rows !== listed.rows) {
      throw fault(`has ${rows} rows, its manifest says ${listed.rows}`);
    }
    const wrong = form.fault(parsed.data);
    if (wrong !== undefined) throw fault(`is not the answer: ${wrong}`);
    yield { where, answer: parsed.data };
  }
}

function firstIssue({ error }: { error: z.ZodError }): string {
  const [issue] = error.issues;
  return issue === undefined ? error.message : `${z.core.toDotPath(issue.path)}: ${issue.message}`;
}

/**
 * The slice's newest finished extraction, and the sha256 of its manifest.
 * @throws {DataError} when there is none, or its manifest is another extraction's.
 */
export async function currentExtraction(
  staging: Staging,
  slice: Slice,
): Promise<{ manifest: ExtractionManifest; source: string }> {
  const { current } = await survey(staging, slice, { sizes: false });
  if (current === undefined) throw notStaged(staging, slice);
  return readExtraction(staging, slice, current);
}

/**
 * One finished extraction of the slice, and the sha256 of its manifest.
 * @throws {DataError} when there is no such extraction, or its manifest is another one's.
 */
export async function readExtraction(
  staging: Staging,
  slice: Slice,
  extraction: string,
): Promise<{ manifest: ExtractionManifest; source: string }> {
  const found = await readExtractionManifest(staging, slice, extraction);
  if (found === undefined) throw notStaged(staging, slice);
  const { manifest, bytes } = found;
  if (
    manifest.month !== slice.month ||
    manifest.organization !== slice.organization ||
    manifest.extraction !== extraction
  ) {
    throw new DataError(
      `the manifest belongs to another extraction: ${manifest.month} of ${manifest.organization}, ${manifest.extraction}`,
      {
        where: `${staging.location}/${extractionManifestKey(slice, extraction)}`,
        next: 'put the staged files back where they were',
      },
    );
  }
  return { manifest, source: sha256Of(bytes) };
}

function notStaged({ location }: Staging, slice: Slice): DataError {
  return new DataError(`nothing is staged for ${slice.month} of ${slice.organization}`, {
    where: location,
    ...advice('run', nextRun(['extract'], slice)),
  });
}

const missing: Readonly<Partial<Record<Dimension, string>>> = {
  SERVICE: 'has no service',
  LINKED_ACCOUNT: 'has no account id',
  USAGE_TYPE: 'has no usage type',
  REGION: 'has no region',
};

/**
 * A dimension's value is a key of the group, or the only one by the question's filter. The keys stand in the
 * order of the request's GroupBy, which the answer repeats.
 */
function keyReader(
  definitions: NonNullable<StagedCost['GroupDefinitions']>,
  { groupBy, filter }: Query,
): CostPage['keyOf'] {
  const positions = keyPositions(definitions, groupBy) ?? [];
  return (dimension) => {
    const only = filter?.[dimension as FilterDimension]?.[0];
    if (only !== undefined && !groupBy.includes(dimension)) return () => only;
    const position = positions[groupBy.indexOf(dimension)] ?? -1;
    const isPlain = definitionOf(dimension).Type === 'DIMENSION';
    return ({ Keys = [] }, place) => {
      const key = Keys[position];
      const value = key === undefined || isPlain ? key : valueIn(dimension, key);
      if (value === undefined)
        throw rowFault(place, missing[dimension] ?? `has no value of ${dimension}`);
      return value;
    };
  };
}

/**
 * A group's value by a metric, as AWS writes it.
 * @throws {DataError} naming file and row of a group that lacks it.
 */
export function metricText(
  { Metrics }: StagedGroup,
  metric: Metric,
  place: Place,
): { amount: string; unit: string } {
  const { Amount: amount, Unit: unit = metric === 'UsageQuantity' ? 'N/A' : undefined } =
    Metrics?.[metric] ?? {};
  if (amount === undefined) throw rowFault(place, `has no ${metric}`);
  if (unit === undefined) throw rowFault(place, `has an ${metric} without its unit`);
  return { amount, unit };
}

/** The same, as an exact amount. */
export function metricAmount(
  group: StagedGroup,
  metric: Metric,
  place: Place,
): ParsedAmount & { unit: string } {
  const { amount, unit } = metricText(group, metric, place);
  return { ...amountAt(place, () => parseAmount(amount)), unit };
}

/**
 * Reads an amount of a row.
 * @throws {DataError} naming file and row where `read` finds that it is none.
 */
export function amountAt<T>(place: Place, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof DataError) throw rowFault(place, `has a wrong amount: ${cause.message}`);
    throw cause;
  }
}

/** Where a row of the staged files stands. */
export interface Place {
  /** The file, as people find it. */
  where: string;
  /** Its number in the file, from 1. */
  row: number;
}

/** What is wrong with one row of a staged file. */
export function rowFault({ where, row }: Place, message: string): DataError {
  return new DataError(`row ${row} ${message}`, {
    where,
    ...advice('fetch the month again with', fetchAgain(), '; if it stays so, report it'),
  });
}

/**
 * Refuses a text that the column cannot hold, see {@link textFault}.
 * @throws {DataError} naming the column and the row.
 */
export function checkLength(column: Column, text: string, row: Place): string {
  const fault = textFault(column, text);
  if (fault !== undefined) throw rowFault(row, fault);
  return text;
}

/**
 * Refuses what is no account id as AWS gives it: 12 digits, leading zeros kept.
 * @throws {DataError} naming the row.
 */
export function checkAccountId(id: string, row: Place): void {
  const fault = accountIdFault(id);
  if (fault !== undefined) throw rowFault(row, fault);
}
