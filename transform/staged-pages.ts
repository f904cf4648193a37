import { isAscii } from 'node:buffer';
import { z } from 'zod';
import { advice, fetchAgain, nextRun } from '../pipeline/shared/commands.js';
import { DataError, throwIfInterrupted } from '../pipeline/shared/errors.js';
import { isInstant, periodFault } from '../pipeline/staging/answers.js';
import type { Operation, QueryName, Slice } from '../pipeline/staging/layout.js';
import {
  extractionManifestKey,
  extractionPrefix,
  parsePageFile,
} from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { finishedExtractions, readExtractionManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAll, sha256Of } from '../pipeline/staging/staging.js';

/** A finished extraction, as the transform stage reads it. */
export interface StagedExtraction {
  staging: Staging;
  slice: Slice;
  manifest: ExtractionManifest;
}

/** One staged answer, checked against the manifest. */
export interface Page<Content> {
  /** The file, as people find it. */
  where: string;
  content: Content;
}

// Every member of both answers is optional in AWS's models; the lists themselves are always there.

const account = z.object({
  Id: z.string().optional(),
  Name: z.string().optional(),
  Email: z.string().optional(),
  State: z.string().optional(),
  Status: z.string().optional(),
  JoinedTimestamp: z.string().refine(isInstant, 'is no instant').optional(),
});

const accountsPage = z.object({ Accounts: z.array(account) });

const group = z.object({
  Keys: z.array(z.string()).optional(),
  Metrics: z
    .record(z.string(), z.object({ Amount: z.string().optional(), Unit: z.string().optional() }))
    .optional(),
});

const period = z.object({ Start: z.string(), End: z.string() });

const totalPage = z.object({
  ResultsByTime: z.array(
    z.object({
      TimePeriod: period,
      Groups: z.array(z.unknown()).max(0, { error: 'an ungrouped total has groups' }).optional(),
      Total: z.record(z.string(), z.object({ Amount: z.string(), Unit: z.string() })).optional(),
    }),
  ),
});

/** See `usual-page.ts` too, which accepts no more than this. */
export const costPage = z.object({
  GroupDefinitions: z.array(z.object({ Key: z.string().optional() })).optional(),
  ResultsByTime: z.array(
    z.object({
      TimePeriod: period,
      Groups: z.array(group).optional(),
      Estimated: z.boolean().optional(),
    }),
  ),
  DimensionValueAttributes: z
    .array(
      z.object({
        Value: z.string().optional(),
        Attributes: z.object({ description: z.string().optional() }).optional(),
      }),
    )
    .optional(),
});

/** An account of Organizations' ListAccounts. */
export type Account = z.infer<typeof account>;
export type AccountsPage = z.infer<typeof accountsPage>;
/** A group of Cost Explorer's GetCostAndUsage. */
export type Group = z.infer<typeof group>;
export type CostPage = z.infer<typeof costPage>;
/** GetCostAndUsage without groups; for a month without cost, Total may be absent or empty. */
export type TotalPage = z.infer<typeof totalPage>;

/**
 * The staged answers of ListAccounts, one at a time, in the order they were asked for.
 * @throws {DataError} when a page is missing, altered, truncated or not what AWS answers.
 */
export function accountsPages(
  extraction: StagedExtraction,
  signal: AbortSignal,
): AsyncGenerator<Page<AccountsPage>> {
  return pages(
    extraction,
    'accounts',
    {
      parse: (json) => accountsPage.safeParse(json),
      rows: ({ Accounts }) => Accounts.length,
      // Each account is looked at as it becomes a customer.
      fault: () => undefined,
    },
    signal,
  );
}

/**
 * The staged answers to a grouping question, one at a time, in the order they were asked for.
 * @throws {DataError} when a page is missing, altered, truncated or not what AWS answers.
 */
export function costPages(
  extraction: StagedExtraction,
  query: QueryName,
  signal: AbortSignal,
): AsyncGenerator<Page<CostPage>> {
  return pages(
    extraction,
    query,
    {
      parse: (json) =>
        isUsualCostPage(json)
          ? { success: true, data: json as CostPage }
          : costPage.safeParse(json),
      rows: ({ ResultsByTime }) =>
        ResultsByTime.reduce((sum, { Groups = [] }) => sum + Groups.length, 0),
      fault: wrongPeriod(extraction, query),
    },
    signal,
  );
}

/**
 * The staged answer with the ungrouped total; none where it was not asked for.
 * @throws {DataError} when it is missing, altered, truncated or not what AWS answers.
 */
export function totalPages(
  extraction: StagedExtraction,
  signal: AbortSignal,
): AsyncGenerator<Page<TotalPage>> {
  return pages(
    extraction,
    'total',
    {
      parse: (json) => totalPage.safeParse(json),
      rows: () => 0,
      fault: wrongPeriod(extraction, 'total'),
    },
    signal,
  );
}

/** What keeps a question's page from telling the month's cost. */
function wrongPeriod(
  { slice, manifest }: StagedExtraction,
  query: QueryName,
): (page: Pick<CostPage | TotalPage, 'ResultsByTime'>) => string | undefined {
  const isSinglePage =
    manifest.pages.filter(({ file }) => parsePageFile(file)?.operation === query).length === 1;
  return ({ ResultsByTime }) => {
    const fault = periodFault(ResultsByTime, slice.month, isSinglePage);
    return fault === undefined ? undefined : `it ${fault}`;
  };
}

/** How the pages of an operation are read. */
interface Reader<Content> {
  parse: (json: unknown) => z.ZodSafeParseResult<Content>;
  rows: (page: Content) => number;
  /** What is wrong with a page of the right form. */
  fault: (page: Content) => string | undefined;
}

async function* pages<Content>(
  { staging, slice, manifest }: StagedExtraction,
  operation: Operation,
  reader: Reader<Content>,
  signal: AbortSignal,
): AsyncGenerator<Page<Content>> {
  const remedy = advice('restore the file, or fetch the month again with', fetchAgain(slice));
  for (const listed of manifest.pages) {
    if (parsePageFile(listed.file)?.operation !== operation) continue;
    throwIfInterrupted(signal);
    const key = extractionPrefix(slice, manifest.extraction) + listed.file;
    const where = `${staging.location}/${key}`;
    const fault = (message: string, cause?: unknown): DataError =>
      new DataError(message, { where, ...remedy, cause });

    const stream = await staging.read(key);
    if (stream === undefined) throw fault('a staged page is missing');
    const bytes = await readAll(stream);
    if (bytes.length !== listed.bytes) {
      throw fault(
        `a staged page has ${bytes.length} bytes, its manifest says ${listed.bytes}: it was cut or altered`,
      );
    }
    if (sha256Of(bytes) !== listed.sha256) {
      throw fault('a staged page was altered: its sha256 is not the one in its manifest');
    }
    let json: unknown;
    try {
      json = JSON.parse(textOf(bytes));
    } catch (cause) {
      throw fault('a staged page is not JSON', cause);
    }
    const parsed = reader.parse(json);
    if (!parsed.success) throw fault(`a staged page is not AWS's answer: ${firstIssue(parsed)}`);
    const rows = reader.rows(parsed.data);
    if (rows !== listed.rows) {
      throw fault(`a staged page has ${rows} rows, its manifest says ${listed.rows}`);
    }
    const wrong = reader.fault(parsed.data);
    if (wrong !== undefined) throw fault(`a staged page is not the answer: ${wrong}`);
    yield { where, content: parsed.data };
  }
}

/** @throws {TypeError} when the bytes are no UTF-8. */
function textOf(bytes: Uint8Array): string {
  // Nearly every answer is ASCII, which is copied where other bytes have to be decoded.
  if (isAscii(bytes))
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

function firstIssue({ error }: { error: z.ZodError }): string {
  const [issue] = error.issues;
  return issue === undefined ? error.message : `${z.core.toDotPath(issue.path)}: ${issue.message}`;
}

/**
 * Whether an answer of GetCostAndUsage has the form of the schema that pages are parsed by. It says no
 * rather than think twice: the schema then decides, and finds the words for what is wrong. A schema's
 * parser makes every group anew, which takes longer than reading the page.
 */
export function isUsualCostPage(json: unknown): boolean {
  return (
    isObject(json) &&
    isListOf(json['GroupDefinitions'], (item) => isObject(item) && isText(item['Key'])) &&
    json['ResultsByTime'] !== undefined &&
    isListOf(json['ResultsByTime'], isResult) &&
    isListOf(json['DimensionValueAttributes'], isDescribed)
  );
}

function isResult(json: unknown): boolean {
  if (!isObject(json)) return false;
  const { TimePeriod, Estimated } = json;
  return (
    isObject(TimePeriod) &&
    isString(TimePeriod['Start']) &&
    isString(TimePeriod['End']) &&
    (Estimated === undefined || typeof Estimated === 'boolean') &&
    isListOf(json['Groups'], isGroup)
  );
}

function isGroup(json: unknown): boolean {
  return isObject(json) && isListOf(json['Keys'], isString) && isMetrics(json['Metrics']);
}

/** Every metric, also those that nobody asks for. */
function isMetrics(json: unknown): boolean {
  if (json === undefined) return true;
  if (!isObject(json)) return false;
  for (const name in json) {
    const metric = json[name];
    if (!isObject(metric) || !isText(metric['Amount']) || !isText(metric['Unit'])) return false;
  }
  return true;
}

function isDescribed(json: unknown): boolean {
  if (!isObject(json) || !isText(json['Value'])) return false;
  const { Attributes } = json;
  return Attributes === undefined || (isObject(Attributes) && isText(Attributes['description']));
}

function isListOf(json: unknown, isItem: (item: unknown) => boolean): boolean {
  if (json === undefined) return true;
  if (!Array.isArray(json)) return false;
  for (const item of json) if (!isItem(item)) return false;
  return true;
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function isString(json: unknown): boolean {
  return typeof json === 'string';
}

function isText(json: unknown): boolean {
  return json === undefined || typeof json === 'string';
}

/**
 * The slice's newest finished extraction, and the sha256 of its manifest.
 * @throws {DataError} when there is none, or its manifest is another extraction's.
 */
export async function currentExtraction(
  staging: Staging,
  slice: Slice,
): Promise<{ manifest: ExtractionManifest; source: string }> {
  const extraction = (await finishedExtractions(staging, slice)).at(-1);
  if (extraction === undefined) throw notStaged(staging, slice);
  return readExtraction(staging, slice, extraction);
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
