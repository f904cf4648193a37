import { DataError } from '../pipeline/shared/errors.js';
import type { Scope } from '../pipeline/shared/scope.js';
import type { StagedExtraction } from '../pipeline/staging/extractions.js';
import type { Operation, Slice } from '../pipeline/staging/layout.js';
import {
  SCOPE,
  breakdownQueryName,
  extractionKey,
  parsePageFile,
} from '../pipeline/staging/layout.js';
import type { ExtractionManifest, TakenOver } from '../pipeline/staging/manifest.js';
import { serializeScope } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readAll, sha256Of } from '../pipeline/staging/staging.js';

/**
 * A month that is there and only lacks a part: invoices, a dimension, a cost view. What AWS was asked of it is not paid
 * for once more: the new extraction begins with copies of those pages, word for word, as if a stopped run had left them.
 * The ungrouped total, asked once more at the end, tells whether they are still what AWS says.
 */

/**
 * What an extraction in a scope takes over from a whole and current one; `undefined`: all is to be fetched. Where
 * Cost Explorer is asked for more, nothing but an equal total tells that old and new answers are of one month.
 * Invoices and accounts say nothing of it.
 * @param awsTotal whether the ungrouped total is asked for.
 */
export function takenOverFrom(
  former: ExtractionManifest,
  scope: Scope,
  awsTotal: boolean,
): TakenOver | undefined {
  const { detail, metrics, billingViewArn, costViewArn } = former.scope;
  if (
    detail !== scope.detail ||
    metrics.join() !== scope.metrics.join() ||
    billingViewArn !== scope.billingViewArn
  )
    return undefined;
  const isSameView = costViewArn === scope.costViewArn;
  const { extraction, awsTotal: said, awsMetrics } = former;
  if (awsTotal && said === null) return undefined;
  const total = awsTotal && said !== null ? { totals: said, metrics: awsMetrics } : undefined;
  const told = new Set<string>(former.breakdowns.map(({ dimension }) => dimension));
  const asksMore =
    scope.by.some((by) => !told.has(by)) ||
    (scope.costViewArn !== null && !(isSameView && former.costView !== undefined));
  if (asksMore && total === undefined) return undefined;
  const split = new Set<Operation>(scope.by.map(breakdownQueryName));
  const stays = (operation: Operation): boolean => {
    if (operation === 'accounts') return scope.listAccounts;
    if (operation === 'invoices') return scope.invoices;
    if (operation === 'cost-view') return isSameView;
    if (operation === 'total') return false;
    if (operation === 'service') return total !== undefined;
    return !operation.startsWith('by-') || split.has(operation);
  };
  const pages = former.pages.filter(({ file }) => {
    const operation = parsePageFile(file)?.operation;
    return operation !== undefined && stays(operation);
  });
  return { extraction, pages, ...(total === undefined ? {} : { total }) };
}

/** Whether every page that is to be taken over is there. */
export function isCopied({ pages }: TakenOver, files: StagedExtraction['files']): boolean {
  return pages.every(({ file }) => files.has(file));
}

/** Whether a run was stopped before AWS answered any question: all that is staged is copies, which cost nothing. */
export function isOnlyCopies(
  takenOver: TakenOver,
  { files }: Pick<StagedExtraction, 'files'>,
): boolean {
  const copies = new Set(takenOver.pages.map(({ file }) => file));
  return [...files.keys()].every((file) => parsePageFile(file) === undefined || copies.has(file));
}

/**
 * Copies the pages that are not there yet.
 * @param write stages a file that this run alone writes.
 * @throws {DataError} when one of them is gone, or is not what the other extraction's manifest tells.
 */
export async function copyPages(
  staging: Staging,
  slice: Slice,
  name: string,
  { extraction, pages }: TakenOver,
  there: ReadonlyMap<string, number>,
  write: (key: string, content: Uint8Array) => Promise<void>,
): Promise<void> {
  for (const { file, sha256 } of pages) {
    if (there.has(file)) continue;
    const key = extractionKey(slice, extraction, file);
    const where = `${staging.location}/${key}`;
    const content = await staging.read(key);
    if (content === undefined) throw new DataError('a staged page has gone', { where });
    const bytes = await readAll(content);
    if (sha256Of(bytes) !== sha256)
      throw new DataError('a staged page is not what its manifest tells', { where });
    await write(extractionKey(slice, name, file), bytes);
  }
}

/**
 * Removes the copies that a draft does without. As long as its scope names them, they are left out by whoever comes
 * next; from then on a page of such a name is one that AWS gave.
 */
export async function removeLeftOut(
  staging: Staging,
  slice: Slice,
  { name, scope, leftOut }: { name: string; scope: Scope; leftOut?: readonly string[] | undefined },
): Promise<void> {
  if (leftOut === undefined) return;
  for (const file of leftOut) await staging.remove(extractionKey(slice, name, file));
  await staging.write(extractionKey(slice, name, SCOPE), serializeScope(scope));
}
