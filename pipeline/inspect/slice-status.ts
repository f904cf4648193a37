import pLimit from 'p-limit';
import { describeServices } from '../../load/aws-difference.js';
import type { OpenOptions } from '../../load/database.js';
import { openForReading } from '../../load/database.js';
import type { NewestLoad } from '../../load/history.js';
import { newestLoads } from '../../load/history.js';
import { findSource } from '../../load/source.js';
import type { DatabaseLocation } from '../config/database-address.js';
import { subjectOf } from '../shared/commands.js';
import {
  DataError,
  InterruptedError,
  PipelineError,
  describeError,
  errorToJson,
} from '../shared/errors.js';
import { difference } from '../shared/sums.js';
import type { Month } from '../shared/month.js';
import { isProvisional } from '../shared/provisional.js';
import type { Detail } from '../shared/scope.js';
import { amountOf, formatTable } from '../shared/table.js';
import type { StagedSlice } from '../staging/extractions.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import type { ExtractionManifest } from '../staging/manifest.js';
import { readExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';

/** What a stage left last, from which extraction, and how finely it tells the cost. */
export interface Done {
  extraction: string;
  finished: Date;
  detail: Detail;
  /** The billing view that tells the cost; null: the organization's own. */
  billingViewArn: string | null;
}

/** How far one month of one organization is. */
export interface SliceStatus extends Slice {
  extracted: Done | undefined;
  /** A newer extraction whose run was stopped. */
  unfinished: string | undefined;
  transformed: Done | undefined;
  loaded: Done | undefined;
  /** `undefined`: never extracted. */
  provisional: boolean | undefined;
  /** Of the current extraction; `undefined`: never extracted. */
  rows: number | undefined;
  totals: Readonly<Record<string, string>> | undefined;
  /** AWS's ungrouped total minus the rows; `undefined`: AWS was not asked for it. */
  difference: Readonly<Record<string, string>> | undefined;
  /** The services that make it; `undefined`: AWS was not asked for them. */
  serviceDifferences: ExtractionManifest['serviceDifferences'];
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
  const staged = await stagedSlices(staging, months);
  const limit = pLimit(8);
  return Promise.all(
    staged
      .filter(({ slice }) => organizations?.includes(slice.organization) ?? true)
      .map((found) =>
        limit(() => sliceStatus(staging, found, loads.of(found.slice), provisionalDays)),
      ),
  );
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
  const manifest =
    current === undefined
      ? undefined
      : await attempt(
          async () => (await readExtractionManifest(staging, slice, current))?.manifest,
        );
  const source = isTransformed ? await attempt(() => findSource(staging, slice)) : undefined;
  const stale: SliceStatus['stale'] = [];
  const isOld = (extraction: string): boolean => current !== undefined && extraction !== current;
  if (source !== undefined && isOld(source.manifest.extraction)) stale.push('transform');
  if (
    load !== undefined &&
    (isOld(load.extraction) || (source !== undefined && source.sha256 !== load.source))
  )
    stale.push('load');
  return {
    ...slice,
    extracted: manifest === undefined ? undefined : done(manifest),
    unfinished,
    transformed: source === undefined ? undefined : done(source.manifest),
    loaded: load,
    provisional:
      manifest === undefined
        ? undefined
        : isProvisional({ ...manifest, fetched: manifest.finished, provisionalDays }),
    rows: manifest?.groups,
    totals: manifest?.totals,
    difference: differenceOf(manifest),
    serviceDifferences: manifest?.serviceDifferences,
    stale,
    faults,
  };
}

function done(manifest: Pick<ExtractionManifest, 'extraction' | 'finished' | 'scope'>): Done {
  const { detail, billingViewArn } = manifest.scope;
  const { extraction, finished } = manifest;
  return { extraction, finished: new Date(finished), detail, billingViewArn };
}

function differenceOf(manifest: ExtractionManifest | undefined): SliceStatus['difference'] {
  const total = manifest?.awsTotal ?? null;
  return manifest === undefined || total === null ? undefined : difference(total, manifest.totals);
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
    stateOf(slice) ?? '',
    slice.rows === undefined ? '' : String(slice.rows),
    slice.totals === undefined ? '' : amountOf(slice.totals),
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
      errors: slice.faults.map((fault) => errorToJson(fault, subjectOf(slice))),
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

/** What the database says was loaded. */
export interface Loads {
  /** Why the database could not be asked. */
  fault: PipelineError | undefined;
  /** The newest load of a slice. */
  of(slice: Slice): NewestLoad | undefined;
}

/** Reads the load history; a database that is not there yet has none, one that fails comes back as a fault. */
export async function readLoads(
  locate: () => Promise<DatabaseLocation>,
  options: OpenOptions,
): Promise<Loads> {
  try {
    const database = await openForReading(await locate(), options);
    if (database === undefined) return { fault: undefined, of: () => undefined };
    try {
      const loads = await database.ask(newestLoads);
      const keyOf = ({ month, organization }: Slice): string => `${month} ${organization}`;
      const bySlice = new Map(loads.map((load) => [keyOf(load), load]));
      return { fault: undefined, of: (slice) => bySlice.get(keyOf(slice)) };
    } finally {
      await database.close();
    }
  } catch (error) {
    if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
    return { fault: error, of: () => undefined };
  }
}
