import { describeError } from '../errors.js';
import type { PruneReport } from './prune.js';
import { errorToJson, formatTable } from '../report.js';

/** What was removed, or would be, as people read it: a table, its sum, and each failure. */
export function formatPrune({ removed, failures }: PruneReport, dryRun: boolean): string {
  const head = ['month', 'organization', 'extraction', 'files', 'bytes'];
  const rows = removed.map(({ month, organization, extraction, files, bytes }) => [
    month,
    organization,
    extraction,
    String(files),
    String(bytes),
  ]);
  const extractions = removed.length === 1 ? '1 extraction' : `${removed.length} extractions`;
  const { files, bytes } = sums(removed);
  return [
    ...(rows.length === 0 ? [] : [formatTable(head, rows, ['files', 'bytes']), '']),
    `${dryRun ? 'would remove' : 'removed'} ${extractions}, ${files} files, ${bytes} bytes`,
    ...failures.flatMap(({ month, organization, error }) => [
      '',
      `${month} ${organization} prune failed: ${describeError(error)}`,
    ]),
  ].join('\n');
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
  return {
    files: removed.reduce((sum, { files }) => sum + files, 0),
    bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
