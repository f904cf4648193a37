import pLimit from 'p-limit';
import { mayGoOn } from '../../extract/decision.js';
import type { Config } from '../config/config.js';
import { DataError, describeError, errorToJson, throwIfInterrupted } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { Month } from '../shared/month.js';
import type { Detail } from '../shared/scope.js';
import { formatTable } from '../shared/table.js';
import type { StagedExtraction } from '../staging/extractions.js';
import { stagedSlices, survey } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { MANIFEST, extractionKey } from '../staging/layout.js';
import { leased } from '../staging/lease.js';
import { readExtractionManifest, readTransformManifest } from '../staging/manifest.js';
import { openStaging } from '../staging/open.js';
import type { Staging } from '../staging/staging.js';
import { checkMonths, checkOrganizations } from './chosen.js';

export interface PruneRequest {
  config: Pick<Config, 'staging' | 'stagingOptions' | 'concurrency' | 'waitSeconds'>;
  /** How many of the newest finished extractions of each month, organization and detail stay, at least 1. */
  keep: number;
  /** `undefined`: every staged one. */
  months: readonly Month[] | undefined;
  organizations: readonly string[] | undefined;
  /** Only tell what would be removed. */
  dryRun: boolean;
  signal: AbortSignal;
  log: Log;
  onWait: (slice: Slice, holder: string) => void;
  now: () => Date;
}

/** An extraction that was removed, or would be. */
export interface PrunedExtraction extends Slice {
  extraction: string;
  files: number;
  bytes: number;
}

export interface PruneFailure extends Slice {
  error: unknown;
}

/** Both by month and organization. */
export interface PruneReport {
  removed: readonly PrunedExtraction[];
  failures: readonly PruneFailure[];
}

/**
 * Removes the extractions that nothing needs any more, of each month and organization while holding its
 * lease. A failure stops only its own month and organization.
 * @throws {DataError} when nothing is staged for the chosen months.
 * @throws {UsageError} when a chosen organization is not among what is staged for them.
 */
export async function prune(request: PruneRequest): Promise<PruneReport> {
  const { config, dryRun, log } = request;
  const staging = await openStaging(config.staging, {
    ...config.stagingOptions,
    signal: request.signal,
  });
  const limit = pLimit(config.concurrency);
  const reports = (await slicesOf(staging, request)).map((slice) =>
    limit(async () => {
      const removed: PrunedExtraction[] = [];
      const failures: PruneFailure[] = [];
      try {
        await pruneSlice(staging, slice, request, (extraction) => {
          log.info({ ...extraction, dryRun }, 'extraction pruned');
          removed.push(extraction);
        });
      } catch (error) {
        log.debug({ ...slice, err: error }, 'prune failed');
        failures.push({ ...slice, error });
      }
      return { removed, failures };
    }),
  );
  const all = await Promise.all(reports);
  return {
    removed: all.flatMap(({ removed }) => removed),
    failures: all.flatMap(({ failures }) => failures),
  };
}

async function slicesOf(
  staging: Staging,
  { months, organizations }: Pick<PruneRequest, 'months' | 'organizations'>,
): Promise<Slice[]> {
  const staged = (await stagedSlices(staging, months)).map(({ slice }) => slice);
  if (staged.length === 0) checkMonths(staging.location, [], months);
  checkOrganizations(
    staged.map(({ organization }) => organization),
    organizations,
  );
  return staged.filter(({ organization }) => organizations?.includes(organization) ?? true);
}

async function pruneSlice(
  staging: Staging,
  slice: Slice,
  { config, keep, dryRun, signal, log, onWait, now }: PruneRequest,
  onRemoved: (extraction: PrunedExtraction) => void,
): Promise<void> {
  const tell = ({ name, files }: StagedExtraction): void => {
    const bytes = [...files.values()].reduce((sum, size) => sum + size, 0);
    onRemoved({ ...slice, extraction: name, files: files.size, bytes });
  };
  throwIfInterrupted(signal);
  const seen = await superfluous(staging, slice, { keep, now });
  if (dryRun) seen.forEach(tell);
  if (dryRun || seen.length === 0) return;
  const { waitSeconds } = config;
  const options = { waitSeconds, signal, log, onWait: onWait.bind(undefined, slice) };
  await leased(staging, slice, options, async (held) => {
    // Looked at once more: another run may have staged or transformed something before the lease was ours.
    for (const extraction of await superfluous(staging, slice, { keep, now })) {
      await removeExtraction(staging, slice, extraction, held);
      tell(extraction);
    }
  });
}

/**
 * The slice's extractions that nothing needs: older than the newest finished one, and neither current, nor among
 * the newest finished ones of their detail, nor what the tables were made from. Of each detail some stay, so that
 * going back to it costs nothing. An unfinished one stays as long as it may be gone on with: where it is newer, or
 * young enough, whatever else was fetched since.
 */
async function superfluous(
  staging: Staging,
  slice: Slice,
  { keep, now }: Pick<PruneRequest, 'keep' | 'now'>,
): Promise<StagedExtraction[]> {
  const { extractions, finished, current } = await survey(staging, slice);
  const [newest = ''] = finished.slice(-1);
  const byDetail = new Map<Detail | undefined, string[]>();
  for (const name of finished) {
    const detail = await detailOf(staging, slice, name);
    byDetail.set(detail, [...(byDetail.get(detail) ?? []), name]);
  }
  const stay = [current, ...[...byDetail.values()].flatMap((names) => names.slice(-keep))];
  const old = extractions.filter(
    (one) => one.name < newest && !stay.includes(one.name) && !mayGoOn(one, now()),
  );
  if (old.length === 0) return [];
  const transformed = (await readTransformManifest(staging, slice))?.manifest.extraction;
  return old.filter(({ name }) => name !== transformed);
}

/** The detail of an extraction; `undefined` when its manifest cannot be read. */
async function detailOf(
  staging: Staging,
  slice: Slice,
  extraction: string,
): Promise<Detail | undefined> {
  try {
    return (await readExtractionManifest(staging, slice, extraction))?.manifest.scope.detail;
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

/** The manifest goes first: without it, what a crash leaves of the extraction does not exist. */
async function removeExtraction(
  staging: Staging,
  slice: Slice,
  { name, files }: StagedExtraction,
  signal: AbortSignal,
): Promise<void> {
  for (const file of new Set([MANIFEST, ...files.keys()])) {
    throwIfInterrupted(signal);
    await staging.remove(extractionKey(slice, name, file));
  }
}

/** What was removed, or would be, as people read it: a table, its sum, and each failure. */
export function formatPrune(report: PruneReport, dryRun: boolean): string {
  const rows = report.removed.map((one) => head.map((column) => String(one[column])));
  return [
    ...(rows.length === 0 ? [] : [formatTable(head, rows, ['files', 'bytes']), '']),
    summary(report, dryRun),
    ...failureLines(report).flatMap((line) => ['', line]),
  ].join('\n');
}

const head = ['month', 'organization', 'extraction', 'files', 'bytes'] as const;

function summary({ removed }: PruneReport, dryRun: boolean): string {
  const extractions = removed.length === 1 ? '1 extraction' : `${removed.length} extractions`;
  const { files, bytes } = sums(removed);
  return `${dryRun ? 'would remove' : 'removed'} ${extractions}, ${files} files, ${bytes} bytes`;
}

function failureLines({ failures }: PruneReport): string[] {
  return failures.map(
    ({ month, organization, error }) =>
      `${month} ${organization} prune failed: ${describeError(error)}`,
  );
}

/** What was removed, or would be, as rows. */
export function pruneTable(report: PruneReport, dryRun: boolean) {
  return {
    columns: head,
    rows: report.removed,
    notes: [summary(report, dryRun), ...failureLines(report)],
  };
}

/** The same as one JSON document. */
export function pruneToJson({ removed, failures }: PruneReport, dryRun: boolean): unknown {
  return {
    dryRun,
    ...sums(removed),
    extractions: removed,
    failures: failures.map(({ error, ...slice }) => ({ ...slice, error: errorToJson(error) })),
  };
}

function sums(removed: PruneReport['removed']): { files: number; bytes: number } {
  const sum = (of: 'files' | 'bytes'): number => removed.reduce((all, one) => all + one[of], 0);
  return { files: sum('files'), bytes: sum('bytes') };
}
