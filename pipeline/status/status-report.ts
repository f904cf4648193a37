import { describeServices } from '../../load/check-difference.js';
import type { PipelineError } from '../errors.js';
import { describeError } from '../errors.js';
import { amountOf, errorToJson, formatTable } from '../report.js';
import type { Done, SliceStatus } from './status.js';

/** How far the slices are, as people read it; times are UTC. */
export function formatStatus(
  slices: readonly SliceStatus[],
  databaseFault: PipelineError | undefined,
): string {
  const head = [
    'month',
    'organization',
    'extracted',
    'transformed',
    'loaded',
    'detail',
    'figures',
    'rows',
    'amount',
    'difference',
    'stale',
  ];
  const rows = slices.map((slice) => [
    slice.month,
    slice.organization,
    extractedText(slice),
    doneText(slice.transformed),
    databaseFault === undefined ? doneText(slice.loaded) : 'unknown',
    detailText(slice),
    stateOf(slice) ?? '',
    slice.rows === undefined ? '' : String(slice.rows),
    slice.totals === undefined ? '' : amountOf(slice.totals),
    slice.difference === undefined ? '' : amountOf(slice.difference),
    slice.stale.join(', '),
  ]);
  const faults = slices.flatMap((slice) =>
    slice.faults.map(
      (fault) => `${slice.month} ${slice.organization} cannot be read: ${describeError(fault)}`,
    ),
  );
  const table = formatTable(head, rows, ['rows', 'amount', 'difference']);
  return [table, ...slices.flatMap(differenceTexts), ...faults].join('\n');
}

/** Which services make a difference that was too large when the month was fetched. */
function differenceTexts(slice: SliceStatus): string[] {
  const { month, organization, difference = {} } = slice;
  if (slice.serviceDifferences === undefined) return [];
  return Object.entries(difference)
    .filter(([, amount]) => amount !== '0')
    .map(
      ([currency, amount]) =>
        `${month} ${organization}: AWS's total minus the rows is ${amount} ${currency}; ${describeServices(slice, currency)}`,
    );
}

/** The same as one JSON document; amounts stay decimal texts, instants ISO 8601. */
export function statusToJson(
  slices: readonly SliceStatus[],
  staging: string,
  databaseFault: PipelineError | undefined,
): unknown {
  return {
    staging,
    ...(databaseFault === undefined ? {} : { databaseError: errorToJson(databaseFault) }),
    slices: slices.map((slice) => ({
      month: slice.month,
      organization: slice.organization,
      extracted: doneJson(slice.extracted),
      unfinished: slice.unfinished ?? null,
      transformed: doneJson(slice.transformed),
      loaded: databaseFault === undefined ? doneJson(slice.loaded) : 'unknown',
      figures: stateOf(slice) ?? null,
      rows: slice.rows ?? null,
      amount: slice.totals ?? null,
      difference: slice.difference ?? null,
      serviceDifferences: slice.serviceDifferences ?? null,
      stale: slice.stale,
      errors: slice.faults.map(errorToJson),
    })),
  };
}

function stateOf({ provisional }: SliceStatus): 'provisional' | 'final' | undefined {
  return provisional === undefined ? undefined : provisional ? 'provisional' : 'final';
}

function extractedText({ extracted, unfinished }: SliceStatus): string {
  if (unfinished === undefined) return doneText(extracted);
  return extracted === undefined ? 'unfinished' : `${doneText(extracted)}, newer unfinished`;
}

/** The detail and billing view of what is there; where the stages differ, each one's. */
function detailText({ extracted, transformed, loaded }: SliceStatus): string {
  const texts = [extracted, transformed, loaded].flatMap((done) => {
    if (done === undefined) return [];
    const view = done.billingViewArn?.split('/').at(-1);
    return [view === undefined ? done.detail : `${done.detail} of ${view}`];
  });
  return [...new Set(texts)].length > 1 ? texts.join(' → ') : (texts[0] ?? '');
}

function doneText(done: Done | undefined): string {
  return done === undefined ? 'no' : done.finished.toISOString().slice(0, 16).replace('T', ' ');
}

function doneJson(done: Done | undefined): unknown {
  return done === undefined
    ? null
    : {
        extraction: done.extraction,
        finished: done.finished.toISOString(),
        detail: done.detail,
        billingViewArn: done.billingViewArn,
      };
}
