import type { Decision } from '../../extract/extract.js';
import { paidPages } from '../../extract/draft.js';
import { DataError } from '../errors.js';
import type { StagedSlice } from '../staged.js';
import type { Slice } from '../staging/layout.js';
import type { ExtractionManifest } from '../staging/manifest.js';
import { readExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';

/** Requests to Cost Explorer that a stage is going to make, as far as can be told beforehand. */
export interface Estimate {
  requests: number;
  /** Whether there is an extraction to go by; without one, `requests` is the least possible. */
  known: boolean;
}

/** Requests that AWS charged for one whole extraction. */
function chargedRequests({ requests }: ExtractionManifest): number {
  return requests.GetCostAndUsage;
}

/**
 * Tells from earlier extractions how many requests an extraction of a slice takes: from the same month's
 * newest one, else from the organization's newest one of any month.
 * @param awsTotal whether the month's ungrouped total is asked for too: one request more.
 */
export function estimator(
  staging: Staging,
  staged: readonly StagedSlice[],
  awsTotal: boolean,
): (slice: Slice) => Promise<Estimate> {
  const total = awsTotal ? 1 : 0;
  return async ({ month, organization }) => {
    const candidates = staged
      .filter(({ slice }) => slice.organization === organization)
      .flatMap(({ slice, survey }) =>
        survey.current === undefined ? [] : [{ slice, extraction: survey.current }],
      )
      .sort((a, b) => (a.extraction < b.extraction ? 1 : -1));
    const sameMonth = candidates.filter(({ slice }) => slice.month === month);
    for (const { slice, extraction } of [...sameMonth, ...candidates]) {
      const manifest = await readable(staging, slice, extraction);
      if (manifest === undefined) continue;
      const grouped = chargedRequests(manifest) - ((manifest.awsTotal ?? null) !== null ? 1 : 0);
      return { requests: grouped + total, known: true };
    }
    return { requests: 1 + total, known: false };
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

/**
 * What is left to ask for, of an extraction that takes so many requests in all.
 * @param awsTotal whether the month's ungrouped total is asked for too.
 */
export function remaining(decision: Decision, whole: Estimate, awsTotal: boolean): Estimate {
  switch (decision.action) {
    case 'unchanged':
      return { requests: 0, known: true };
    case 'fetch':
      return whole;
    case 'resume': {
      const { draft } = decision;
      const total = awsTotal && draft.total.length === 0 ? 1 : 0;
      if (draft.costComplete) return { requests: total, known: true };
      return {
        requests: Math.max(1 + total, whole.requests - paidPages(draft)),
        known: whole.known,
      };
    }
  }
}
