import { DataError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import type { Slice } from './layout.js';
import {
  MANIFEST,
  extractionKey,
  extractionName,
  manifestPrefix,
  parseChoiceFile,
  parseExtractionKey,
  parseTransformManifestKey,
  rawPrefix,
} from './layout.js';
import type { ExtractionManifest } from './manifest.js';
import { readExtractionManifest } from './manifest.js';
import type { ListOptions, Staging } from './staging.js';

/** One extraction as its files show it. */
export interface StagedExtraction {
  name: string;
  /** Whether it has a manifest. */
  finished: boolean;
  /** The names of its files, with their lengths in bytes, where those were asked for. */
  files: ReadonlyMap<string, number>;
}

/** What the staging area holds of a slice's extractions. */
export interface Survey {
  /** Every one of them, oldest first. */
  extractions: readonly StagedExtraction[];
  /** The names of the finished ones, oldest first. */
  finished: readonly string[];
  /** The current extraction: the newest that is finished, or an older one that a later run has chosen. */
  current: string | undefined;
  /** An extraction newer than every finished one that was never finished itself: its run was stopped. */
  unfinished: string | undefined;
  /** Choices of an extraction, by the instants at which they were made, oldest first. */
  choices: readonly { at: string; chosen: string }[];
  /** The newest name in use, of an extraction or a choice. */
  newest: string | undefined;
}

type Files = Map<string, number>;

const NAMES: ListOptions = { sizes: false };

/** Lists the slice's extractions once. */
export async function survey(
  staging: Staging,
  { month, organization }: Slice,
  options?: ListOptions,
): Promise<Survey> {
  const [found] = await surveysBelow(staging, rawPrefix(month, organization), options);
  return found?.survey ?? surveyOf(new Map());
}

/** The same of every slice below a prefix. */
async function surveysBelow(
  staging: Staging,
  prefix: string,
  options?: ListOptions,
): Promise<{ slice: Slice; survey: Survey }[]> {
  const slices = new Map<string, { slice: Slice; extractions: Map<string, Files> }>();
  for await (const { key, size } of staging.list(prefix, options)) {
    const parts = parseExtractionKey(key);
    if (parts === undefined) continue;
    const { month, organization, extraction, file } = parts;
    const found = member(slices, nameOf(parts), () => ({
      slice: { month, organization },
      extractions: new Map<string, Files>(),
    }));
    member(found.extractions, extraction, (): Files => new Map()).set(file, size);
  }
  return [...slices.values()].map(({ slice, extractions }) => ({
    slice,
    survey: surveyOf(extractions),
  }));
}

function surveyOf(folders: ReadonlyMap<string, Files>): Survey {
  const extractions: StagedExtraction[] = [];
  const choices: { at: string; chosen: string }[] = [];
  const sorted = [...folders].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, files] of sorted) {
    const [chosen] = [...files.keys()].flatMap((file) => parseChoiceFile(file) ?? []);
    if (chosen === undefined) extractions.push({ name, finished: files.has(MANIFEST), files });
    else choices.push({ at: name, chosen });
  }
  const finished = extractions.filter((one) => one.finished).map(({ name }) => name);
  const last = finished.at(-1) ?? '';
  const choice = choices.filter(({ at, chosen }) => at > last && finished.includes(chosen)).at(-1);
  const newest = extractions.at(-1);
  return {
    extractions,
    finished,
    current: choice?.chosen ?? finished.at(-1),
    unfinished: newest?.finished === false ? newest.name : undefined,
    choices,
    newest: sorted.at(-1)?.[0],
  };
}

/**
 * The manifest of a finished extraction of which every page is there in its full length.
 * @throws {DataError} when it cannot be read, or a page is not.
 */
export async function intactManifest(
  staging: Staging,
  slice: Slice,
  { name, files }: StagedExtraction,
): Promise<ExtractionManifest> {
  const where = (file: string): string => `${staging.location}/${extractionKey(slice, name, file)}`;
  const found = await readExtractionManifest(staging, slice, name);
  if (found === undefined) throw new DataError('the manifest has gone', { where: where(MANIFEST) });
  const { manifest } = found;
  const damaged = manifest.pages.find(({ file, bytes }) => files.get(file) !== bytes);
  if (damaged === undefined) return manifest;
  throw new DataError('a page is missing or has another length', { where: where(damaged.file) });
}

/** The name of an extraction that begins now: later than every other of the slice, whatever the clock says. */
export function nextExtraction(now: Date, { newest }: Survey): string {
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

/**
 * Every slice of which anything is staged, by month and organization; of the given months, if any are. The lengths of
 * its files are not asked for.
 */
export async function stagedSlices(
  staging: Staging,
  months: readonly (Month | undefined)[] = [undefined],
): Promise<StagedSlice[]> {
  const found = new Map<string, StagedSlice>();
  for (const month of months) {
    for (const { slice, survey } of await surveysBelow(staging, rawPrefix(month), NAMES))
      found.set(nameOf(slice), { slice, survey, transformed: false });
    for await (const { key } of staging.list(manifestPrefix(month), NAMES)) {
      const slice = parseTransformManifestKey(key);
      if (slice === undefined) continue;
      const { survey = surveyOf(new Map()) } = found.get(nameOf(slice)) ?? {};
      found.set(nameOf(slice), { slice, survey, transformed: true });
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, staged]) => staged);
}

/** The extraction of a slice that is its current one. */
export interface CurrentExtraction extends Slice {
  extraction: string;
}

/** The current extractions of a month, by organization. */
export type CurrentOf = (month: Month) => Promise<readonly CurrentExtraction[]>;

/** Lists each month's current extractions once: as they were when they were first asked for. */
export function currentOnce(staging: Staging): CurrentOf {
  const months = new Map<Month, Promise<readonly CurrentExtraction[]>>();
  return (month) => member(months, month, () => currentExtractions(staging, month));
}

async function currentExtractions(
  staging: Staging,
  month: Month,
): Promise<readonly CurrentExtraction[]> {
  const staged = await surveysBelow(staging, rawPrefix(month), NAMES);
  return staged.flatMap(({ slice, survey: { current: extraction } }) =>
    extraction === undefined ? [] : [{ ...slice, extraction }],
  );
}

function nameOf({ month, organization }: Slice): string {
  return `${month} ${organization}`;
}

function member<T>(map: Map<string, T>, name: string, make: () => T): T {
  let found = map.get(name);
  if (found === undefined) map.set(name, (found = make()));
  return found;
}
