import type { Decision } from '../extract/extract.js';
import { DataError } from './errors.js';
import type { StagedSlice } from './staged.js';
import type { Slice } from './staging/layout.js';
import type { ExtractionManifest } from './staging/manifest.js';
import { readExtractionManifest } from './staging/manifest.js';
import type { Staging } from './staging/staging.js';

/** Requests to Cost Explorer that a stage is going to make, as far as can be told beforehand. */
export interface Estimate {
  requests: number;
  /** Whether there is an extraction to go by; without one, `requests` is the least possible. */
  known: boolean;
}

/** Requests that AWS charged for one whole extraction. */
export function chargedRequests({ requests }: ExtractionManifest): number {
  return requests.GetCostAndUsage;
}

/**
 * Tells from earlier extractions how many requests an extraction of a slice takes: from the same month's
 * newest one, else from the organization's newest one of any month.
 */
export function estimator(
  staging: Staging,
  staged: readonly StagedSlice[],
): (slice: Slice) => Promise<Estimate> {
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
      if (manifest !== undefined) return { requests: chargedRequests(manifest), known: true };
    }
    return { requests: 1, known: false };
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
export function remaining(decision: Decision, whole: Estimate): Estimate {
  switch (decision.action) {
    case 'unchanged':
      return { requests: 0, known: true };
    case 'fetch':
      return whole;
    case 'resume': {
      const { cost, costComplete } = decision.draft;
      if (costComplete) return { requests: 0, known: true };
      return { requests: Math.max(1, whole.requests - cost.length), known: whole.known };
    }
  }
}
