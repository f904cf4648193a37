import { DataError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { Month } from '../shared/month.js';
import type { Slice } from './layout.js';
import {
  MANIFEST,
  RAW,
  extractionManifestKey,
  extractionName,
  extractionPrefix,
  manifestPrefix,
  parseExtractionKey,
  parseTransformManifestKey,
  rawPrefix,
} from './layout.js';
import type { ExtractionManifest } from './manifest.js';
import { readExtractionManifest } from './manifest.js';
import type { StagedFile, Staging } from './staging.js';

/** One extraction as its files show it. */
export interface StagedExtraction {
  name: string;
  /** Whether it has a manifest. */
  finished: boolean;
  files: readonly StagedFile[];
}

/** Every extraction of a slice, oldest first. */
export async function listExtractions(staging: Staging, slice: Slice): Promise<StagedExtraction[]> {
  const files = new Map<string, StagedFile[]>();
  for await (const file of staging.list(rawPrefix(slice.month, slice.organization))) {
    const name = parseExtractionKey(file.key)?.extraction;
    if (name !== undefined) files.set(name, [...(files.get(name) ?? []), file]);
  }
  return [...files.keys()].sort().map((name) => {
    const own = files.get(name) ?? [];
    const manifest = extractionManifestKey(slice, name);
    return { name, finished: own.some(({ key }) => key === manifest), files: own };
  });
}

/** What the staging area holds of a slice. */
export interface Survey {
  /** Every finished extraction, oldest first. */
  finished: readonly string[];
  /** The current extraction: the newest that is finished. */
  current: string | undefined;
  /** An extraction newer than the current one that was never finished: its run was stopped. */
  unfinished: string | undefined;
  /** The newest extraction of all, finished or not. */
  newest: string | undefined;
  /** Every file below the slice's folder: key → size in bytes. */
  files: ReadonlyMap<string, number>;
}

/** Lists the slice's extractions once. */
export async function survey(staging: Staging, slice: Slice): Promise<Survey> {
  const files = new Map<string, number>();
  for await (const { key, size } of staging.list(rawPrefix(slice.month, slice.organization))) {
    if (parseExtractionKey(key) !== undefined) files.set(key, size);
  }
  return surveyOf(files);
}

/** What the files of one slice's extractions, key → size in bytes, tell of it. */
export function surveyOf(files: ReadonlyMap<string, number>): Survey {
  const finished: string[] = [];
  const all: string[] = [];
  for (const key of files.keys()) {
    const parts = parseExtractionKey(key);
    if (parts === undefined) continue;
    all.push(parts.extraction);
    if (parts.file === MANIFEST) finished.push(parts.extraction);
  }
  const newest = all.sort().at(-1);
  const current = finished.sort().at(-1);
  return { finished, current, unfinished: newest === current ? undefined : newest, newest, files };
}

/**
 * The current extraction's manifest, if it can be read and every page it lists is there in its full
 * length; otherwise `undefined`, and the log says why.
 */
export async function intactManifest(
  staging: Staging,
  slice: Slice,
  { current, files }: Survey,
  log: Log,
): Promise<ExtractionManifest | undefined> {
  if (current === undefined) return undefined;
  const prefix = extractionPrefix(slice, current);
  try {
    const manifest = (await readExtractionManifest(staging, slice, current))?.manifest;
    const damaged = manifest?.pages.find(({ file, bytes }) => files.get(prefix + file) !== bytes);
    if (damaged === undefined) return manifest;
    throw new DataError('a page is missing or has another length', {
      where: `${staging.location}/${prefix}${damaged.file}`,
    });
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    log.warn(
      { where: error.where },
      `the month's extraction is damaged, so it is fetched anew: ${error.message}`,
    );
    return undefined;
  }
}

/** The name of an extraction that begins now: later than every other of the slice, whatever the clock says. */
export function nextExtraction(now: Date, newest: string | undefined): string {
  const earliest = newest === undefined ? 0 : startOf(newest).getTime() + 1000;
  return extractionName(new Date(Math.max(now.getTime(), earliest)));
}

/**
 * The instant that an extraction's name stands for.
 * @throws {DataError} when it stands for none.
 */
export function startOf(extraction: string): Date {
  const iso = extraction.replace(
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z.*$/,
    '$1-$2-$3T$4:$5:$6.000Z',
  );
  const start = new Date(iso);
  if (Number.isNaN(start.getTime())) {
    throw new DataError(`"${extraction}" is no extraction's name`, {
      next: 'move the folder out of the staging area',
    });
  }
  return start;
}

/** What the staging area's listing tells of a slice. */
export interface StagedSlice {
  slice: Slice;
  survey: Survey;
  /** Whether there is a transform manifest. */
  transformed: boolean;
}

/** Every slice of which anything is staged, by month and organization; of the given months, if any are. */
export async function stagedSlices(
  staging: Staging,
  months?: readonly Month[],
): Promise<StagedSlice[]> {
  const found = new Map<
    string,
    { slice: Slice; files: Map<string, number>; transformed: boolean }
  >();
  const at = (slice: Slice): { files: Map<string, number>; transformed: boolean } => {
    const { month, organization } = slice;
    const name = `${month} ${organization}`;
    const entry = found.get(name) ?? {
      slice: { month, organization },
      files: new Map<string, number>(),
      transformed: false,
    };
    found.set(name, entry);
    return entry;
  };
  for (const prefix of months?.map((month) => rawPrefix(month)) ?? [RAW]) {
    for await (const { key, size } of staging.list(prefix)) {
      const parts = parseExtractionKey(key);
      if (parts !== undefined) at(parts).files.set(key, size);
    }
  }
  for (const prefix of months?.map((month) => manifestPrefix(month)) ?? [manifestPrefix()]) {
    for await (const { key } of staging.list(prefix)) {
      const slice = parseTransformManifestKey(key);
      if (slice !== undefined) at(slice).transformed = true;
    }
  }
  return [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { slice, files, transformed }]) => ({
      slice,
      survey: surveyOf(files),
      transformed,
    }));
}
