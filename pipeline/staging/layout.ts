import { createHash } from 'node:crypto';
import type { Breakdown } from '../shared/dimensions.js';
import { definitionOf, writtenAs } from '../shared/dimensions.js';
import { DataError, UsageError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { isMonth } from '../shared/month.js';
import { printable } from '../shared/printable.js';
import type { TableName } from './tables.js';

export type { TableName };

/** Every key of the staging area is built here, and taken apart here. */

/** One table, month and organization: the piece of data that every stage replaces as a whole. */
export interface Slice {
  month: Month;
  organization: string;
}

/** The three forms in which a table is exported; the loader reads `parquet`. */
export const exportFormats = ['parquet', 'parquet-basic', 'csv'] as const;
export type ExportFormat = (typeof exportFormats)[number];

const organizationName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/**
 * Accepts an organization's name: letters, digits, `_` and `-`, as it stands in keys and file names.
 * @throws {UsageError} on any other text.
 */
export function parseOrganizationName(text: string): string {
  if (!organizationName.test(text)) {
    const length = text.length > 80 ? ` … (${text.length} characters)` : '';
    throw new UsageError(
      `"${printable(text.slice(0, 80))}"${length} is not an organization's name`,
      {
        next: 'use 1 to 64 letters, digits, "_" and "-", beginning with a letter or digit',
      },
    );
  }
  return text;
}

/** The name of an extraction that begins at an instant: its UTC second, `20261101T020304Z`. */
export function extractionName(start: Date): string {
  return start
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '');
}

/** Folder of all extractions of a month and organization; with no organization, of the whole month; with neither, of all. */
export function rawPrefix(month?: Month, organization?: string): string {
  if (month === undefined) return 'raw/';
  return `raw/month=${month}/${organization === undefined ? '' : `${organization}/`}`;
}

/** Folder of one extraction. */
export function extractionPrefix(slice: Slice, extraction: string): string {
  return `${rawPrefix(slice.month, slice.organization)}${extraction}/`;
}

/** A file of one extraction. */
export function extractionKey(slice: Slice, extraction: string, file: string): string {
  return extractionPrefix(slice, extraction) + file;
}

/** What an answer belongs to, by the stem of its files: the accounts, the invoices, or a question to Cost Explorer. */
export type Operation = 'accounts' | 'invoices' | QueryName;

/**
 * The questions to Cost Explorer by name: cost by service and account; in the detail by usage type, usage
 * type by service, usage type by account, one for each further question about usage types that several
 * services share, usage type by region, and one for each further question about those of several regions;
 * what the same costs the reseller, by service and account; one for each breakdown of the accounts' cost; the
 * month's ungrouped total; cost by service alone.
 */
export type QueryName =
  | 'cost-and-usage'
  | 'usage-type-service'
  | 'usage-type-account'
  | `usage-type-shared-${string}`
  | 'usage-type-region'
  | `usage-type-region-${RegionPart}-${string}`
  | 'cost-view'
  | `by-${string}`
  | 'total'
  | 'service';

/** What further questions about the regions of usage types group by beside them. */
export type RegionPart = 'service' | 'account';

/** File name, inside the extraction, of the `page`-th (from 1) answer of an operation. */
export function pageFile(operation: Operation, page: number): string {
  return `${operation}-${String(page).padStart(5, '0')}.json`;
}

const queryNames =
  'cost-and-usage|usage-type-service|usage-type-account|usage-type-shared-\\d{3,}|usage-type-region(?:-(?:service|account)-\\d{3,})?|cost-view|by-(?:tag|cost-category)-[0-9a-f]{16}|by-[a-z]+(?:-[a-z]+)*|total|service';
const queryName = new RegExp(`^(?:${queryNames})$`);
const pageName = new RegExp(`^(accounts|invoices|${queryNames})-(\\d{5,})\\.json$`);

/** Whether a text names a question, as it stands in a manifest. */
export function isQueryName(text: unknown): text is QueryName {
  return typeof text === 'string' && queryName.test(text);
}

/** Takes a page's file name apart; `undefined` for any other file. */
export function parsePageFile(file: string): { operation: Operation; page: number } | undefined {
  const match = pageName.exec(file);
  return match === null ? undefined : { operation: match[1] as Operation, page: Number(match[2]) };
}

/** Name of the `number`-th (from 1) question about shared usage types. */
export function sharedQueryName(number: number): QueryName {
  return `usage-type-shared-${String(number).padStart(3, '0')}`;
}

/** Name of the `number`-th (from 1) question that tells the regions of usage types by service or account. */
export function regionQueryName(part: RegionPart, number: number): QueryName {
  return `usage-type-region-${part}-${String(number).padStart(3, '0')}`;
}

/**
 * Name of the question by a dimension: the same whatever else is asked for. Keys and names may hold what no file
 * name can, so that a digest stands for them.
 */
export function breakdownQueryName(dimension: Breakdown): QueryName {
  const { Type, Key } = definitionOf(dimension);
  const [kind = ''] = writtenAs(dimension).split(':', 1);
  if (Type === 'DIMENSION') return `by-${kind}`;
  return `by-${kind}-${createHash('sha256').update(Key).digest('hex').slice(0, 16)}`;
}

/** The file, inside the extraction, that says what is asked for; written before the first page. */
export const SCOPE = 'scope.json';

export const MANIFEST = 'manifest.json';

export function extractionManifestKey(slice: Slice, extraction: string): string {
  return extractionKey(slice, extraction, MANIFEST);
}

/** The file by which a run at some instant, named like an extraction, made an older extraction the current one. */
export function choiceKey(slice: Slice, at: string, chosen: string): string {
  return extractionKey(slice, at, `current-is-${chosen}.json`);
}

/** The extraction that such a file names; `undefined` for any other file. */
export function parseChoiceFile(file: string): string | undefined {
  return /^current-is-(\d{8}T\d{6}Z.*)\.json$/.exec(file)?.[1];
}

const keyOfExtraction = /^raw\/month=([^/]+)\/([^/]+)\/(\d{8}T\d{6}Z[^/]*)\/([^/]+)$/;

/** Takes a key below `raw/` apart; `undefined` for a key that no extraction writes. */
export function parseExtractionKey(
  key: string,
): (Slice & { extraction: string; file: string }) | undefined {
  const [, month, organization, extraction, file] = keyOfExtraction.exec(key) ?? [];
  const slice = sliceOf(month, organization);
  return slice === undefined || extraction === undefined || file === undefined
    ? undefined
    : { ...slice, extraction, file };
}

/** The slice of a folder that {@link rawPrefix} names, without its last slash; `undefined` for any other. */
export function parseRawFolder(folder: string): Slice | undefined {
  const [, month, organization] = /^raw\/month=([^/]+)\/([^/]+)$/.exec(folder) ?? [];
  return sliceOf(month, organization);
}

/** A slice by the names that stand in a key; `undefined` when they are no names of ours. */
function sliceOf(month: string | undefined, organization: string | undefined): Slice | undefined {
  return month !== undefined &&
    isMonth(month) &&
    organization !== undefined &&
    organizationName.test(organization)
    ? { month, organization }
    : undefined;
}

/** Folder of a table's files in one export format: of one month's; with no month, of all. */
export function exportPrefix(format: ExportFormat, table: TableName, month?: Month): string {
  return `${format}/${table}/${month === undefined ? '' : `month=${month}/`}`;
}

/** One table's file of a slice in one export format. */
export function exportKey(format: ExportFormat, table: TableName, slice: Slice): string {
  const extension = format === 'csv' ? 'csv' : 'parquet';
  return `${exportPrefix(format, table, slice.month)}${slice.organization}.${extension}`;
}

/** Folder of the transform manifests; of one month, if given. */
export function manifestPrefix(month?: Month): string {
  return month === undefined ? 'manifests/' : `manifests/month=${month}/`;
}

/** The manifest that the transform stage writes last. */
export function transformManifestKey(slice: Slice): string {
  return `${manifestPrefix(slice.month)}${slice.organization}.json`;
}

const transformKey = /^manifests\/month=([^/]+)\/([^/]+)\.json$/;

/** The slice that a transform manifest's key belongs to; `undefined` for any other key. */
export function parseTransformManifestKey(key: string): Slice | undefined {
  const [, month, organization] = transformKey.exec(key) ?? [];
  return sliceOf(month, organization);
}

const ofMonth = /^(?:raw|manifests|leases|(?:parquet|parquet-basic|csv)\/[^/]+)\/month=[^/]+\//;

/** The folder of a month that a key or prefix lies in, with all its organizations: of one table if it is an export. */
export function monthFolder(key: string): string | undefined {
  return ofMonth.exec(key)?.[0];
}

/** Whether a key is a manifest's, or that of the scope beside one. */
export function isManifestKey(key: string): boolean {
  const file = parseExtractionKey(key)?.file;
  return file === MANIFEST || file === SCOPE || parseTransformManifestKey(key) !== undefined;
}

/** What one process at a time works on: a slice, or the fetching of an organization, whatever the month. */
export type Leased = Slice | { organization: string };

/** Folder of the leases on it. */
export function leasePrefix(leased: Leased): string {
  return 'month' in leased
    ? `leases/month=${leased.month}/${leased.organization}/`
    : `leases/organizations/${leased.organization}/`;
}

/** The lease of a number on it. */
export function leaseKey(leased: Leased, number: number): string {
  return `${leasePrefix(leased)}${number}.json`;
}

/** The number in a lease's key; `undefined` for any other key. */
export function parseLeaseKey(key: string): { number: number } | undefined {
  const number = /^leases\/(?:month=[^/]+|organizations)\/[^/]+\/(\d{1,15})\.json$/.exec(key)?.[1];
  return number === undefined ? undefined : { number: Number(number) };
}

/** A file by which a check of the staging area tries whether it works. */
export function probeKey(id: string): string {
  return `check/${id}.json`;
}

/** The local driver's own folder, for files that are not whole yet; no key lies in it. */
export const UNFINISHED_FILES = '.tmp';

/**
 * Whether a text can be a key: no empty segment, `.`, `..`, backslash, control character or half of a
 * surrogate pair, and nothing in the local driver's own folder.
 */
export function isKey(text: string): boolean {
  const segments = text.split('/');
  return (
    !/[\\\p{Cc}\p{Cs}]/u.test(text) &&
    segments[0] !== UNFINISHED_FILES &&
    segments.every((part) => part !== '' && part !== '.' && part !== '..')
  );
}

/**
 * Guards a driver against a key that would leave the staging area.
 * @throws {DataError} when the text is no key, see {@link isKey}.
 */
export function checkKey(key: string): void {
  if (!isKey(key)) {
    throw new DataError('not a key of the staging area', { where: JSON.stringify(key) });
  }
}

/**
 * Guards a driver against a prefix that would leave the staging area.
 * @throws {DataError} when no key can start with the text.
 */
export function checkPrefix(prefix: string): void {
  if (!isKey(`${prefix}x`)) {
    throw new DataError('not a prefix of keys in the staging area', {
      where: JSON.stringify(prefix),
    });
  }
}
