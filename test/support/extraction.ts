import type { Breakdown } from '../../pipeline/shared/dimensions.js';
import { definitionOf } from '../../pipeline/shared/dimensions.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import { addTo, formatTotals } from '../../pipeline/shared/sums.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import type { Operation, Slice } from '../../pipeline/staging/layout.js';
import {
  breakdownQueryName,
  extractionManifestKey,
  extractionPrefix,
  pageFile,
} from '../../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../../pipeline/staging/manifest.js';
import {
  breakdownQuery,
  costQuery,
  costViewQuery,
  serializeManifest,
} from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { sha256Of } from '../../pipeline/staging/staging.js';

/** Answers to stage: an object is staged as JSON, a text as it is. */
export interface Answers {
  accounts?: readonly (object | string)[];
  costs?: readonly (object | string)[];
  /** Answers to the questions by dimension; of one without them, it was not asked. */
  by?: Partial<Record<Breakdown, readonly (object | string)[]>>;
  /** Answers of the cost view; without them it was not asked. */
  costView?: readonly (object | string)[];
  /** Answers of ListInvoiceSummaries; without them, they were not asked for. */
  invoices?: readonly { InvoiceSummaries: readonly object[] }[];
  extraction?: string;
  /** Members of the manifest to replace. */
  manifest?: Partial<ExtractionManifest>;
}

/** A group of GetCostAndUsage, in the order of the request's GroupBy: service, account. */
export function group(service: string, account: string, amount: string, unit = 'USD'): object {
  return { Keys: [service, account], Metrics: { UnblendedCost: { Amount: amount, Unit: unit } } };
}

/** An answer of GetCostAndUsage for October 2026. */
export function costAnswer(
  groups: readonly object[],
  more: object = {},
  estimated = false,
): object {
  return {
    GroupDefinitions: [
      { Type: 'DIMENSION', Key: 'SERVICE' },
      { Type: 'DIMENSION', Key: 'LINKED_ACCOUNT' },
    ],
    ResultsByTime: [
      {
        TimePeriod: { Start: '2026-10-01', End: '2026-11-01' },
        Total: {},
        Groups: groups,
        Estimated: estimated,
      },
    ],
    ...more,
  };
}

/** Stages a finished extraction as the extract stage leaves it: pages first, manifest last. */
export async function makeExtraction(
  staging: Staging,
  slice: Slice,
  {
    accounts = [{ Accounts: [] }],
    costs = [costAnswer([])],
    by = {},
    costView,
    invoices,
    extraction = '20261101T020304Z',
    manifest = {},
  }: Answers,
): Promise<ExtractionManifest> {
  const pages: ExtractionManifest['pages'] = [];
  const stage = async (operation: Operation, answers: readonly (object | string)[]) => {
    for (const [index, answer] of answers.entries()) {
      const file = pageFile(operation, index + 1);
      const bytes = Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer));
      await staging.write(extractionPrefix(slice, extraction) + file, bytes);
      pages.push({ file, bytes: bytes.length, sha256: sha256Of(bytes), rows: countRows(answer) });
    }
  };
  await stage('accounts', accounts);
  await stage('cost-and-usage', costs);
  await stage('cost-view', costView ?? []);
  const split = Object.entries(by).sort() as [Breakdown, readonly (object | string)[]][];
  for (const [dimension, answers] of split) await stage(breakdownQueryName(dimension), answers);
  await stage('invoices', invoices ?? []);
  const groups = costs.flatMap(groupsOf);
  const written: ExtractionManifest = {
    format: 1,
    version: '0.1.0',
    month: slice.month,
    organization: slice.organization,
    extraction,
    started: '2026-11-01T02:03:04.000Z',
    finished: '2026-11-01T02:03:09.000Z',
    requests: {
      ListAccounts: accounts.length,
      GetCostAndUsage: costs.length + split.reduce((sum, [, answers]) => sum + answers.length, 0),
      ListInvoiceSummaries: invoices?.length ?? 0,
    },
    pages,
    accounts: accounts.reduce<number>((sum, answer) => sum + countRows(answer), 0),
    groups: groups.length,
    totals: sum(groups),
    metrics: {},
    scope: {
      ...plainScope,
      by: split.map(([dimension]) => dimension),
      invoices: invoices !== undefined,
    },
    queries: [costQuery, ...split.map(([dimension]) => breakdownQuery(dimension))],
    breakdowns: split.map(([dimension, answers]) => {
      const own = answers.flatMap(groupsOf);
      return { dimension, groups: own.length, totals: sum(own), metrics: {} };
    }),
    invoices:
      invoices === undefined
        ? null
        : { payer: '123456789012', rows: invoices.reduce((all, one) => all + countRows(one), 0) },
    awsTotal: null,
    awsMetrics: {},
    ...(costView === undefined ? {} : ofCostView(costView.flatMap(groupsOf))),
    refused: [],
    estimated: false,
    ...manifest,
  };
  await staging.write(extractionManifestKey(slice, extraction), serializeManifest(written));
  return written;
}

/** The ARN of the cost view of what {@link makeExtraction} stages. */
export const COST_VIEW = 'arn:aws:billing::000000000001:billingview/cost';

function ofCostView(groups: readonly AnyGroup[]): Partial<ExtractionManifest> {
  return {
    scope: { ...plainScope, costViewArn: COST_VIEW },
    queries: [costQuery, costViewQuery],
    costView: { groups: groups.length, totals: sum(groups) },
  };
}

/** An answer of GetCostAndUsage by a dimension and account. */
export function splitAnswer(by: Breakdown, groups: readonly object[]): object {
  const dimensions = [by, 'LINKED_ACCOUNT'] as const;
  return costAnswer(groups, { GroupDefinitions: dimensions.map(definitionOf) });
}

interface AnyAnswer {
  InvoiceSummaries?: object[];
  Accounts?: object[];
  ResultsByTime?: { Groups?: AnyGroup[] }[];
}
interface AnyGroup {
  Metrics?: { UnblendedCost?: { Amount?: unknown; Unit?: string } };
}

function groupsOf(answer: object | string): AnyGroup[] {
  if (typeof answer === 'string') return [];
  return ((answer as AnyAnswer).ResultsByTime ?? []).flatMap(({ Groups = [] }) => Groups);
}

function countRows(answer: object | string): number {
  if (typeof answer === 'string') return 0;
  const { Accounts, InvoiceSummaries } = answer as AnyAnswer;
  return (Accounts ?? InvoiceSummaries)?.length ?? groupsOf(answer).length;
}

/** Sums what are numbers; tests of wrong amounts fail before the sums are compared. */
function sum(groups: readonly AnyGroup[]): Record<string, string> {
  const totals = new Map<string, bigint>();
  for (const { Metrics } of groups) {
    const { Amount, Unit = '' } = Metrics?.UnblendedCost ?? {};
    if (typeof Amount === 'string' && /^[+-]?[\d.]+(e-\d+)?$/i.test(Amount))
      addTo(totals, Unit, parseAmount(Amount).units);
  }
  return formatTotals(totals);
}
