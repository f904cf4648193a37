import { emptyDraft, openQuery, paidPages } from '../../extract/draft.js';
import type { ExtractDecision } from '../../extract/extract.js';
import { queriesOf } from '../../extract/questions.js';
import type { Config } from '../config/config.js';
import { DataError } from '../shared/errors.js';
import { plainScope } from '../shared/scope.js';
import type { StagedSlice } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { parsePageFile } from '../staging/layout.js';
import type { ExtractionManifest } from '../staging/manifest.js';
import { readExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';

/** Requests to Cost Explorer that a stage is going to make, as far as can be told beforehand. */
export interface Estimate {
  requests: number;
  /** Those beside them that are made only where AWS's total lies further from the rows than the tolerance. */
  further: number;
  /** Whether there is an extraction to go by; without one, `requests` is the least possible. */
  known: boolean;
}

/** What takes no request. */
export const noRequests: Estimate = { requests: 0, further: 0, known: true };

type Asked = Pick<Config, 'scope' | 'awsTotal'>;

/**
 * Tells from earlier extractions how many requests an extraction of a slice takes: from the same month's
 * newest one of the same detail, else from the newest current one of the organization's other months.
 */
export function estimator(
  staging: Staging,
  staged: readonly StagedSlice[],
  asked: Asked,
): (slice: Slice) => Promise<Estimate> {
  return async ({ month, organization }) => {
    const own = staged.filter(({ slice }) => slice.organization === organization);
    // Of the month itself the older ones too: the current one may tell the other detail.
    const sameMonth = own.flatMap(({ slice, survey }) =>
      slice.month === month ? survey.finished.map((extraction) => ({ slice, extraction })) : [],
    );
    const otherMonths = own.flatMap(({ slice, survey: { current: extraction } }) =>
      slice.month === month || extraction === undefined ? [] : [{ slice, extraction }],
    );
    const newestFirst = [sameMonth, otherMonths].flatMap((some) =>
      some.sort((a, b) => (a.extraction < b.extraction ? 1 : -1)),
    );
    for (const { slice, extraction } of newestFirst) {
      const manifest = await readable(staging, slice, extraction);
      if (manifest === undefined) continue;
      if (manifest.scope.detail === asked.scope.detail) return estimateBy(manifest, asked);
    }
    return { requests: leastRequests(asked), further: asked.awsTotal ? 1 : 0, known: false };
  };
}

/** At least a page for each question; what usage types share is known only from the first answers. */
function leastRequests({ scope, awsTotal }: Asked): number {
  return [...queriesOf(scope, awsTotal, emptyDraft('', plainScope), () => false)].length;
}

function estimateBy(manifest: ExtractionManifest, { scope, awsTotal }: Asked): Estimate {
  const pages = { detail: 0, recordType: 0, service: 0 };
  for (const { file } of manifest.pages) {
    const operation = parsePageFile(file)?.operation;
    if (operation === 'record-type') pages.recordType++;
    else if (operation === 'service') pages.service++;
    else if (operation !== 'accounts' && operation !== 'total') pages.detail++;
  }
  const recordType = scope.byRecordType ? Math.max(1, pages.recordType) : 0;
  return {
    requests: pages.detail + recordType + (awsTotal ? 1 : 0),
    further: awsTotal ? Math.max(1, pages.service) : 0,
    known: !scope.byRecordType || pages.recordType > 0,
  };
}

async function readable(
  staging: Staging,
  slice: Slice,
  extraction: string,
): Promise<ExtractionManifest | undefined> {
  try {
    return (await readExtractionManifest(staging, slice, extraction))?.manifest;
  } catch (error) {
    // An estimate may go by another extraction; the stages say what is wrong with this one.
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

/** What is left to ask for, of an extraction that takes so many requests in all. */
export function remaining(
  decision: ExtractDecision,
  whole: Estimate,
  asked: Pick<Config, 'awsTotal' | 'tolerance'>,
): Estimate {
  switch (decision.action) {
    case 'unchanged':
      return noRequests;
    case 'fetch':
      return whole;
    case 'resume': {
      const { draft } = decision;
      const open = openQuery(draft, asked);
      if (open === undefined) return noRequests;
      if (open.name === 'total') return { requests: 1, further: whole.further, known: true };
      if (open.name === 'service') return { requests: 1, further: 0, known: true };
      const least = [...queriesOf(draft.scope, asked.awsTotal, draft, () => false)].filter(
        ({ name }) => draft.chains.get(name)?.complete !== true,
      );
      return {
        requests: Math.max(least.length, whole.requests - paidPages(draft)),
        further: whole.further,
        known: whole.known,
      };
    }
  }
}
