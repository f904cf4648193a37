import pLimit from 'p-limit';
import { describeServices } from '../../load/aws-difference.js';
import type { NewestLoad } from '../../load/history.js';
import { findSource } from '../../load/source.js';
import { subjectOf } from '../shared/commands.js';
import type { PipelineError } from '../shared/errors.js';
import { DataError, describeError, errorToJson } from '../shared/errors.js';
import type { TotalsText } from '../shared/sums.js';
import { difference } from '../shared/sums.js';
import type { Month } from '../shared/month.js';
import { figuresOf, isProvisional } from '../shared/provisional.js';
import type { Scope } from '../shared/scope.js';
import { amountOf, formatTable } from '../shared/table.js';
import type { StagedSlice } from '../staging/extractions.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import type { ExtractionManifest, TransformManifest } from '../staging/manifest.js';
import { readExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import type { Loads } from './loads.js';

/** How far one month of one organization is. */
export interface SliceStatus extends Slice {
  /** Of the current extraction; `undefined`: never extracted, or it cannot be read. */
  extracted: ExtractionManifest | undefined;
  /** A newer extraction whose run was stopped. */
  unfinished: string | undefined;
  transformed: TransformManifest | undefined;
  loaded: NewestLoad | undefined;
  /** Whether AWS may still change the figures. */
  provisional: boolean | undefined;
  /** AWS's ungrouped total minus the rows; `undefined`: AWS was not asked for it. */
  difference: TotalsText | undefined;
  /** What was made from something older than what the stage before it has now. */
  stale: ('transform' | 'load')[];
  /** Why something that is staged cannot be read. */
  faults: DataError[];
}

export interface StatusRequest {
  staging: Staging;
  /** `undefined`: all that are staged. */
  months: readonly Month[] | undefined;
  organizations: readonly string[] | undefined;
  loads: Loads;
  /** Days after a month's end in which its figures are provisional. */
  provisionalDays: number;
}

/** How far every staged slice is, by month and organization, from the staging area and the load history. */
export async function status(request: StatusRequest): Promise<SliceStatus[]> {
  const { staging, months, organizations, loads, provisionalDays } = request;
  const chosen = (await stagedSlices(staging, months)).filter(
    ({ slice }) => organizations?.includes(slice.organization) ?? true,
  );
  const limit = pLimit(8);
  const statusOf = (found: StagedSlice): Promise<SliceStatus> =>
    limit(() => sliceStatus(staging, found, loads.newest(found.slice), provisionalDays));
  return Promise.all(chosen.map(statusOf));
}

async function sliceStatus(
  staging: Staging,
  { slice, survey, transformed: isTransformed }: StagedSlice,
  load: NewestLoad | undefined,
  provisionalDays: number,
): Promise<SliceStatus> {
  const faults: DataError[] = [];
  const attempt = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      faults.push(error);
      return undefined;
    }
  };
  const { current, unfinished } = survey;
  const extracted =
    current === undefined
      ? undefined
      : (await attempt(() => readExtractionManifest(staging, slice, current)))?.manifest;
  const source = isTransformed ? await attempt(() => findSource(staging, slice)) : undefined;
  const transformed = source?.manifest;
  const isOld = (made: { extraction: string } | undefined): boolean =>
    made !== undefined && current !== undefined && made.extraction !== current;
  const isReplaced = source !== undefined && load !== undefined && source.sha256 !== load.source;
  const total = extracted?.awsTotal ?? undefined;
  return {
    ...slice,
    ...{ extracted, unfinished, transformed, loaded: load },
    provisional:
      extracted && isProvisional({ ...extracted, fetched: extracted.finished, provisionalDays }),
    difference: total && extracted && difference(total, extracted.totals),
    stale: [
      ...(isOld(transformed) ? (['transform'] as const) : []),
      ...(isOld(load) || isReplaced ? (['load'] as const) : []),
    ],
    faults,
  };
}

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
    figuresOf(slice.provisional) ?? '',
    slice.extracted === undefined ? '' : String(slice.extracted.groups),
    slice.extracted === undefined ? '' : amountOf(slice.extracted.totals),
    slice.difference === undefined ? '' : amountOf(slice.difference),
    slice.stale.join(', '),
  ]);
  const faults = slices.flatMap((slice) =>
    slice.faults.map(
      (fault) =>
        `${slice.month} ${slice.organization} cannot be read: ${describeError(fault, subjectOf(slice))}`,
    ),
  );
  const table = formatTable(head, rows, ['rows', 'amount', 'difference']);
  return [table, ...slices.flatMap(differenceTexts), ...faults].join('\n');
}

/** Which services make a difference that was too large when the month was fetched. */
function differenceTexts(slice: SliceStatus): string[] {
  const { month, organization, extracted, difference = {} } = slice;
  if (extracted?.serviceDifferences === undefined) return [];
  return Object.entries(difference)
    .filter(([, amount]) => amount !== '0')
    .map(
      ([currency, amount]) =>
        `${month} ${organization}: AWS's total minus the rows is ${amount} ${currency}; ${describeServices(extracted, currency)}`,
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
      figures: figuresOf(slice.provisional) ?? null,
      rows: slice.extracted?.groups ?? null,
      amount: slice.extracted?.totals ?? null,
      difference: slice.difference ?? null,
      serviceDifferences: slice.extracted?.serviceDifferences ?? null,
      stale: slice.stale,
      errors: slice.faults.map((fault) => errorToJson(fault, subjectOf(slice))),
    })),
  };
}

function extractedText({ extracted, unfinished }: SliceStatus): string {
  if (unfinished === undefined) return doneText(extracted);
  return extracted === undefined ? 'unfinished' : `${doneText(extracted)}, newer unfinished`;
}

/** What a stage left last. */
type Done = ExtractionManifest | TransformManifest | NewestLoad;

/** Which cost it tells. */
function scopeOf(done: Done): Pick<Scope, 'detail' | 'billingViewArn'> {
  return 'scope' in done ? done.scope : done;
}

function finishedAt({ finished }: Done): string {
  return new Date(finished).toISOString();
}

/** The detail and billing view of what is there; where the stages differ, each one's. */
function detailText({ extracted, transformed, loaded }: SliceStatus): string {
  const texts = [extracted, transformed, loaded].flatMap((done) => {
    if (done === undefined) return [];
    const { detail, billingViewArn } = scopeOf(done);
    const view = billingViewArn?.split('/').at(-1);
    return [view === undefined ? detail : `${detail} of ${view}`];
  });
  return [...new Set(texts)].length > 1 ? texts.join(' → ') : (texts[0] ?? '');
}

function doneText(done: Done | undefined): string {
  return done === undefined ? 'no' : finishedAt(done).slice(0, 16).replace('T', ' ');
}

function doneJson(done: Done | undefined): unknown {
  if (done === undefined) return null;
  const { detail, billingViewArn } = scopeOf(done);
  return { extraction: done.extraction, finished: finishedAt(done), detail, billingViewArn };
}
