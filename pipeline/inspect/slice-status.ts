import pLimit from 'p-limit';
import { checkDifference, describeServices } from '../../load/aws-difference.js';
import type { NewestLoad } from '../../load/history.js';
import type { Loads } from '../../load/loads.js';
import { findSource } from '../../load/source.js';
import { subjectOf } from '../shared/commands.js';
import type { PipelineError } from '../shared/errors.js';
import { DataError, DifferenceError, errorToJson } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { figuresOf, isProvisional } from '../shared/provisional.js';
import type { Scope } from '../shared/scope.js';
import type { TotalsText } from '../shared/sums.js';
import { difference } from '../shared/sums.js';
import { amountColumn, formatTable } from '../shared/table.js';
import type { StagedSlice } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { exportFormats, exportPrefix } from '../staging/layout.js';
import type { ExtractionManifest, TransformManifest } from '../staging/manifest.js';
import { describeRefusal, readExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { tableNames } from '../staging/tables.js';

/** How far one month of one organization is. */
export interface SliceStatus extends Slice {
  /** Of the current extraction; `undefined`: never extracted, or it cannot be read. */
  extracted: ExtractionManifest | undefined;
  /** A newer extraction whose run was stopped. */
  unfinished: string | undefined;
  transformed: TransformManifest | undefined;
  /** Exported files that are not there, or have another length than their manifest says. */
  missing: readonly string[];
  loaded: NewestLoad | undefined;
  /** Whether AWS may still change the figures. */
  provisional: boolean | undefined;
  /** AWS's ungrouped total minus the rows; `undefined`: AWS was not asked for it. */
  difference: TotalsText | undefined;
  /** What was made from something older than what the stage before it has now. */
  stale: ('transform' | 'load')[];
  /** Why its tables, which are not loaded, would not be: they lie too far from AWS's own total. */
  apart: DifferenceError | undefined;
  /** Why something that is staged cannot be read. */
  faults: DataError[];
}

export interface StatusRequest {
  staging: Staging;
  /** What is staged of the chosen months and organizations. */
  staged: readonly StagedSlice[];
  loads: Loads;
  /** Days after a month's end in which its figures are provisional. */
  provisionalDays: number;
  /** The largest difference from AWS's total that is loaded, in units of 10^-18 of the currency. */
  tolerance: Units;
}

/** How far every staged slice is, by month and organization, from the staging area and the load history. */
export async function status(request: StatusRequest): Promise<SliceStatus[]> {
  const { staging, staged } = request;
  const sizes = await exportSizes(staging, [...new Set(staged.map(({ slice }) => slice.month))]);
  const limit = pLimit(8);
  return Promise.all(staged.map((found) => limit(() => sliceStatus(request, found, sizes))));
}

/** The length of every exported file of some months, by its key. */
async function exportSizes(
  staging: Staging,
  months: readonly Month[],
): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>();
  // A year's files take fewer listings by table than by month.
  const folders: (Month | undefined)[] = months.length > 12 ? [undefined] : [...months];
  for (const month of folders)
    for (const format of exportFormats)
      for (const table of tableNames)
        for await (const { key, size } of staging.list(exportPrefix(format, table, month)))
          sizes.set(key, size);
  return sizes;
}

async function sliceStatus(
  { staging, loads, provisionalDays, tolerance }: StatusRequest,
  { slice, survey: { current, unfinished }, transformed: isTransformed }: StagedSlice,
  sizes: ReadonlyMap<string, number>,
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
  const extracted =
    current === undefined
      ? undefined
      : (await attempt(() => readExtractionManifest(staging, slice, current)))?.manifest;
  const source = isTransformed ? await attempt(() => findSource(staging, slice)) : undefined;
  const transformed = source?.manifest;
  const files = tableNames.flatMap((table) => transformed?.[table]?.files ?? []);
  const loaded = loads.newest(slice);
  const isOld = (made: { extraction: string } | undefined): boolean =>
    made !== undefined && current !== undefined && made.extraction !== current;
  const isReplaced =
    source !== undefined && loaded !== undefined && source.sha256 !== loaded.source;
  const total = extracted?.awsTotal ?? undefined;
  const isToLoad = transformed !== undefined && (loaded === undefined || isReplaced);
  return {
    ...slice,
    apart: isToLoad && !isOld(transformed) ? refusalOf(transformed, tolerance) : undefined,
    ...{ extracted, unfinished, transformed, loaded, faults },
    missing: files.filter(({ key, bytes }) => sizes.get(key) !== bytes).map(({ key }) => key),
    provisional:
      extracted && isProvisional({ ...extracted, fetched: extracted.finished, provisionalDays }),
    difference: total && extracted && difference(total, extracted.totals),
    stale: [
      ...(isOld(transformed) ? (['transform'] as const) : []),
      ...(isOld(loaded) || isReplaced ? (['load'] as const) : []),
    ],
  };
}

function refusalOf(tables: TransformManifest, tolerance: Units): DifferenceError | undefined {
  try {
    checkDifference(tables, tolerance);
    return undefined;
  } catch (error) {
    if (error instanceof DifferenceError) return error;
    throw error;
  }
}

/** The slices as people read them; times are UTC. */
export function formatStatus(
  slices: readonly SliceStatus[],
  databaseFault: PipelineError | undefined,
): string {
  const amounts = amountColumn(
    'amount',
    slices.map(({ extracted }) => extracted?.totals),
  );
  const isMixed = slices.some((slice) => detailOf(slice) !== 'service');
  const head = [
    ...['month', 'organization', 'extracted', 'transformed', 'loaded'],
    ...(isMixed ? ['detail'] : []),
    ...['figures', amounts.head],
  ];
  const rows = slices.map((slice, index) => [
    slice.month,
    slice.organization,
    extractedText(slice),
    transformedText(slice),
    databaseFault === undefined ? loadedText(slice) : 'unknown',
    ...(isMixed ? [detailOf(slice)] : []),
    figuresOf(slice.provisional) ?? '',
    amounts.cells[index] ?? '',
  ]);
  const table = formatTable(head, rows, [amounts.head], { names: ['organization'] });
  return [table, ...slices.flatMap(notesOf)].join('\n');
}

/** What the table has no room for: billing views, a stopped run, what AWS refused, a difference, and which services make it. */
function notesOf(slice: SliceStatus): string[] {
  const { extracted, unfinished, difference = {} } = slice;
  const name = `${slice.month} ${slice.organization}`;
  const apart = Object.entries(difference).filter(([, amount]) => amount !== '0');
  const told = detailText(slice);
  return [
    ...(told === detailOf(slice) ? [] : [`${name}: tells ${told}`]),
    ...(extracted === undefined || unfinished === undefined
      ? []
      : [
          `${name}: a newer unfinished extraction, ${unfinished}, was left by a run that was stopped`,
        ]),
    ...(extracted?.refused ?? []).map((refusal) => `${name}: ${describeRefusal(refusal)}`),
    ...apart.map(
      ([currency, amount]) =>
        `${name}: AWS's total of ${timeText(extracted)} minus the rows is ${amount} ${currency}${extracted?.serviceDifferences === undefined ? '' : `; ${describeServices(extracted, currency)}`}`,
    ),
  ];
}

interface StatusDocument {
  staging: string;
  databaseError?: object;
  slices: readonly object[];
}

/** The slices of that document as rows. */
export function statusTable({ slices }: StatusDocument, notes: readonly string[]) {
  const done = ['extraction', 'finished', 'detail'];
  return {
    columns: [
      ...['month', 'organization'],
      ...done.map((key) => `extracted.${key}`),
      'unfinished',
      ...done.map((key) => `transformed.${key}`),
      'missingExports',
      ...done.map((key) => `loaded.${key}`),
      ...['stale', 'figures', 'rows', 'amount.*', 'difference.*', 'errors'],
    ],
    rows: slices,
    notes,
  };
}

/** The same as one JSON document; amounts stay decimal texts, instants ISO 8601. */
export function statusToJson(
  slices: readonly SliceStatus[],
  staging: string,
  databaseFault: PipelineError | undefined,
): StatusDocument {
  return {
    staging,
    ...(databaseFault === undefined ? {} : { databaseError: errorToJson(databaseFault) }),
    slices: slices.map((slice) => ({
      month: slice.month,
      organization: slice.organization,
      extracted: doneJson(slice.extracted),
      unfinished: slice.unfinished ?? null,
      transformed: doneJson(slice.transformed),
      missingExports: slice.missing,
      loaded: databaseFault === undefined ? doneJson(slice.loaded) : 'unknown',
      figures: figuresOf(slice.provisional) ?? null,
      rows: slice.extracted?.groups ?? null,
      amount: slice.extracted?.totals ?? null,
      difference: slice.difference ?? null,
      serviceDifferences: slice.extracted?.serviceDifferences ?? null,
      refused: slice.extracted?.refused ?? [],
      stale: slice.stale,
      errors: slice.faults.map((fault) => errorToJson(fault, subjectOf(slice))),
    })),
  };
}

/** What a stage left last. */
type Done = ExtractionManifest | TransformManifest | NewestLoad;

/** Which cost it tells. */
function scopeOf(done: Done): Pick<Scope, 'detail' | 'billingViewArn' | 'costViewArn'> {
  return 'scope' in done ? done.scope : done;
}

function finishedAt({ finished }: Done): string {
  return new Date(finished).toISOString();
}

function timeText(done: Done | undefined): string {
  return done === undefined ? 'no' : finishedAt(done).slice(0, 16).replace('T', ' ');
}

function extractedText({ extracted, unfinished }: SliceStatus): string {
  return extracted === undefined && unfinished !== undefined ? 'unfinished' : timeText(extracted);
}

function transformedText({ transformed, missing, stale }: SliceStatus): string {
  if (missing.length > 0) return 'missing';
  return stale.includes('transform') ? 'stale' : transformed === undefined ? 'no' : 'yes';
}

function loadedText({ loaded, stale }: SliceStatus): string {
  return stale.includes('load') ? 'stale' : loaded === undefined ? 'no' : 'yes';
}

/** The detail of what is there, in a word. */
function detailOf(slice: SliceStatus): string {
  const found = new Set(doneOf(slice).map((done) => scopeOf(done).detail));
  const [first = 'service'] = found;
  return found.size > 1 ? 'mixed' : first;
}

function doneOf({ extracted, transformed, loaded }: SliceStatus): Done[] {
  return [extracted, transformed, loaded].flatMap((done) => done ?? []);
}

/** The detail and billing view of what is there; where the stages differ, each one's. */
function detailText(slice: SliceStatus): string {
  const texts = doneOf(slice).map((done) => {
    const { detail, billingViewArn, costViewArn } = scopeOf(done);
    const [view, cost] = [billingViewArn, costViewArn].map((arn) => arn?.split('/').at(-1));
    return [
      view === undefined ? detail : `${detail} of ${view}`,
      ...(cost === undefined ? [] : [`with the cost of ${cost}`]),
    ].join(' ');
  });
  return [...new Set(texts)].length > 1 ? texts.join(' → ') : (texts[0] ?? 'service');
}

function doneJson(done: Done | undefined): unknown {
  if (done === undefined) return null;
  const { extraction } = done;
  const { detail, billingViewArn, costViewArn } = scopeOf(done);
  return { extraction, finished: finishedAt(done), detail, billingViewArn, costViewArn };
}
