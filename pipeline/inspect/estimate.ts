import { asksTotal, emptyDraft, openQuery } from '../../extract/draft.js';
import type { ExtractDecision } from '../../extract/decision.js';
import { queriesOf } from '../../extract/questions.js';
import type { Config } from '../config/config.js';
import { DataError } from '../shared/errors.js';
import type { Scope } from '../shared/scope.js';
import type { StagedSlice } from '../staging/extractions.js';
import type { Operation, Slice } from '../staging/layout.js';
import { breakdownQueryName, extractionKey, parsePageFile } from '../staging/layout.js';
import type { ExtractionManifest, TakenOver } from '../staging/manifest.js';
import { costViewPart, isCostPage, readExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';

/** Requests to Cost Explorer that a stage is going to make, as far as can be told beforehand. */
export interface Estimate {
  requests: number;
  /**
   * Those beside them that are made only where AWS's total lies further from the rows than the tolerance, or is
   * another one than that of what is taken over.
   */
  further: number;
  /** Requests to the Invoicing API beside them, of which AWS publishes no price: they are counted, not priced. */
  invoicing: number;
  /** Whether the organization has an extraction to go by. */
  known: boolean;
  /** Else the organization whose extraction it goes by; `undefined`: there is none, and `requests` is the least. */
  like?: string | undefined;
  /** The most that is usual, where `requests` is the least. */
  usualMost?: number | undefined;
}

/** What takes no request. */
export const noRequests: Estimate = { requests: 0, further: 0, invoicing: 0, known: true };

/**
 * Tells from earlier extractions of the same detail how many requests an extraction of a slice takes: from the
 * same month's current one, which is what a widened one takes over, else from its newest, else from the newest of the organization's other months, else from another
 * organization's, those of the same month first.
 */
export function estimator(
  staging: Staging,
  staged: readonly StagedSlice[],
  { awsTotal }: Pick<Config, 'awsTotal'>,
): (slice: Slice, scope: Scope) => Promise<Estimate> {
  const read = new Map<string, Promise<ExtractionManifest | undefined>>();
  const manifestOf = (slice: Slice, name: string): Promise<ExtractionManifest | undefined> => {
    const key = extractionKey(slice, name, '');
    const found = read.get(key) ?? readable(staging, slice, name);
    read.set(key, found);
    return found;
  };
  const finished = staged.flatMap(({ slice, survey }) =>
    survey.finished.map((name) => ({ slice, name, isCurrent: name === survey.current })),
  );
  const own = new Map<string, typeof finished>();
  for (const one of finished) {
    const { organization } = one.slice;
    own.set(organization, [...(own.get(organization) ?? []), one]);
  }
  /** The extractions to go by, the most alike first; others' only where the own ones are of another detail. */
  function* nearest({ month, organization }: Slice): Generator<(typeof finished)[number]> {
    const inOrder = (some: typeof finished): typeof finished => {
      const distance = ({ slice, isCurrent }: (typeof some)[number]): number =>
        slice.month === month ? (isCurrent ? 0 : 1) : 2;
      return some.toSorted((a, b) => distance(a) - distance(b) || (a.name < b.name ? 1 : -1));
    };
    yield* inOrder(own.get(organization) ?? []);
    yield* inOrder(finished.filter(({ slice }) => slice.organization !== organization));
  }
  return async (wanted, scope) => {
    const { organization } = wanted;
    for (const { slice, name } of nearest(wanted)) {
      const manifest = await manifestOf(slice, name);
      if (manifest?.scope.detail !== scope.detail) continue;
      const estimate = estimateBy(manifest, scope, awsTotal);
      if (slice.organization === organization) return estimate;
      return { ...estimate, known: false, like: slice.organization };
    }
    const requests = leastRequests(scope, awsTotal);
    return {
      requests,
      further: awsTotal ? 1 : 0,
      invoicing: scope.invoices ? 1 : 0,
      known: false,
      usualMost: requests + (scope.detail === 'usage-type' ? USUALLY_SHARED : 0),
    };
  };
}

/**
 * Questions about what usage types share that few organizations exceed: one for each of 25 services whose usage
 * types others have too, and one for each of 17 regions (those that every account has) by service and by account.
 */
const USUALLY_SHARED = 25 + 2 * 17;

/** At least a page for each question; what usage types share is known only from the first answers. */
function leastRequests(scope: Scope, awsTotal: boolean): number {
  return [...queriesOf(scope, awsTotal, emptyDraft('', scope), () => false)].length;
}

function estimateBy(
  manifest: ExtractionManifest,
  { by, invoices, costViewArn }: Scope,
  awsTotal: boolean,
): Estimate {
  const pages = { detail: 0, costView: 0, service: 0, invoices: 0 };
  const split = new Map<Operation, number>();
  for (const { file } of manifest.pages) {
    const operation = parsePageFile(file)?.operation;
    if (operation?.startsWith('by-') === true)
      split.set(operation, (split.get(operation) ?? 0) + 1);
    else if (operation === 'service') pages.service++;
    else if (operation === 'cost-view') pages.costView++;
    else if (operation === 'invoices') pages.invoices++;
    else if (operation !== 'accounts' && operation !== 'total') pages.detail++;
  }
  // A refusal costs nothing, and AWS is expected to repeat it.
  const isRefused = (part: string): boolean => manifest.refused.some((one) => one.part === part);
  const asked = by.map((dimension) =>
    isRefused(dimension) ? 0 : split.get(breakdownQueryName(dimension)),
  );
  if (costViewArn !== null)
    asked.push(isRefused(costViewPart(costViewArn)) ? 0 : pages.costView || undefined);
  const parts = asked.reduce<number>((sum, found) => sum + (found ?? 1), 0);
  return {
    requests: pages.detail + parts + (awsTotal ? 1 : 0),
    further: awsTotal ? Math.max(1, pages.service) : 0,
    invoicing: invoices ? Math.max(1, pages.invoices) : 0,
    known: !asked.includes(undefined),
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
 * What is left to ask for.
 * @param estimate tells what the whole extraction takes.
 */
export async function remaining(
  decision: ExtractDecision,
  estimate: () => Promise<Estimate>,
  asked: Pick<Config, 'awsTotal' | 'tolerance'>,
): Promise<Estimate> {
  switch (decision.action) {
    case 'unchanged':
    case 'reuse':
      return noRequests;
    case 'fetch':
      return estimate();
    case 'widen': {
      const whole = await estimate();
      const { takenOver, scope } = decision;
      const kept = keptPages(takenOver);
      const has = takenOver.pages.some(({ file }) => parsePageFile(file)?.operation === 'invoices');
      return {
        ...whole,
        requests: Math.max(asked.awsTotal ? 1 : 0, whole.requests - kept),
        further: takenOver.total === undefined ? whole.further : whole.further + kept,
        invoicing: scope.invoices && !has ? whole.invoicing : 0,
      };
    }
    case 'resume': {
      const whole = await estimate();
      const { draft } = decision;
      const { complete, pages } = draft.invoices;
      const invoicing =
        draft.scope.invoices && !complete ? Math.max(1, whole.invoicing - pages.length) : 0;
      const { takenOver } = draft;
      const again = takenOver?.total === undefined ? 0 : keptPages(takenOver);
      const open = openQuery(draft, asked);
      if (open === undefined) return { ...noRequests, invoicing };
      if (open.name === 'total')
        return { requests: 1, further: whole.further + again, invoicing, known: true };
      if (open.name === 'service') return { requests: 1, further: 0, invoicing, known: true };
      const total = asksTotal(draft, asked.awsTotal);
      const least = [...queriesOf(draft.scope, total, draft, () => false)].filter(
        ({ name }) => draft.chains.get(name)?.complete !== true,
      );
      // The total may be staged or asked for against today's wish, and the cost by service is in no estimate.
      const staged = [...draft.chains.values()].reduce(
        (sum, { query: { name }, pages }) =>
          sum + (name === 'total' || name === 'service' ? 0 : pages.length),
        0,
      );
      const totals = Number(least.some(({ name }) => name === 'total')) - Number(asked.awsTotal);
      const rest = (requests: number): number => Math.max(least.length, requests + totals - staged);
      const { usualMost } = whole;
      return {
        ...whole,
        invoicing,
        further: whole.further + again,
        requests: rest(whole.requests),
        usualMost: usualMost === undefined ? undefined : rest(usualMost),
      };
    }
  }
}

/** Pages of Cost Explorer that are taken over, but those that are asked only where AWS's total differs from the rows. */
function keptPages({ pages }: TakenOver): number {
  return pages.filter(
    ({ file }) => isCostPage(file) && parsePageFile(file)?.operation !== 'service',
  ).length;
}
