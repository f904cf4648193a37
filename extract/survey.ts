import { DataError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Slice } from '../pipeline/staging/layout.js';
import {
  extractionName,
  extractionPrefix,
  MANIFEST,
  parseExtractionKey,
  rawPrefix,
} from '../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../pipeline/staging/manifest.js';
import { readExtractionManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';

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
