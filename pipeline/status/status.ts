import pLimit from 'p-limit';
import type { NewestLoad } from '../../load/history.js';
import { findSource } from '../../load/source.js';
import { DataError } from '../errors.js';
import type { Loads } from './loads.js';
import type { Month } from '../month.js';
import { difference } from '../money.js';
import { isProvisional } from '../provisional.js';
import type { Detail } from '../scope.js';
import type { StagedSlice } from '../staged.js';
import { stagedSlices } from '../staged.js';
import type { Slice } from '../staging/layout.js';
import type { ExtractionManifest } from '../staging/manifest.js';
import { readExtractionManifest, scopeOf } from '../staging/manifest.js';
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
  const { detail, billingViewArn } = scopeOf(manifest);
  const { extraction, finished } = manifest;
  return { extraction, finished: new Date(finished), detail, billingViewArn };
}

function differenceOf(manifest: ExtractionManifest | undefined): SliceStatus['difference'] {
  const total = manifest?.awsTotal ?? null;
  return manifest === undefined || total === null ? undefined : difference(total, manifest.totals);
}
