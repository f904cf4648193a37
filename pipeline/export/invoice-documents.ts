import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import pLimit from 'p-limit';
import {
  ConfigurationError,
  DataError,
  InterruptedError,
  PipelineError,
  describeError,
  errorToJson,
  throwIfInterrupted,
} from '../shared/errors.js';
import { codeOf, makeFolder, openRegular } from '../shared/files.js';
import { printable } from '../shared/printable.js';
import { sweepAside, writeAside } from '../staging/aside.js';
import type { Slice } from '../staging/layout.js';
import { sha256Of } from '../staging/staging.js';

/** An invoice whose document is wanted. */
export interface WantedDocument extends Slice {
  /** Hostile text: AWS allows any. */
  invoice: string;
}

/** What became of it: `saved` anew, `kept` as it was there before, or `failed`. */
export interface Document extends WantedDocument {
  state: 'saved' | 'kept' | 'failed';
  /** Where it lies, or would. */
  file: string;
  bytes: number | null;
  sha256: string | null;
  error?: PipelineError;
}

/** Documents that are fetched at once. */
const AT_ONCE = 4;

/**
 * Saves the invoices' documents below a folder, as MONTH/ORGANIZATION/INVOICE.pdf. A file that is there is kept as it
 * is, and not asked for again. One that cannot be had is told by name, and the others go on.
 * @param fetchDocument asks AWS for one, which must be a whole PDF.
 * @throws {InterruptedError}; {ConfigurationError} when a folder cannot be made.
 */
export async function saveDocuments(
  folder: string,
  wanted: readonly WantedDocument[],
  fetchDocument: (wanted: WantedDocument) => Promise<Uint8Array>,
  signal: AbortSignal,
): Promise<Document[]> {
  const limit = pLimit(AT_ONCE);
  const files = wanted.map((one) => ({ one, ...placeOf(resolve(folder), one) }));
  for (const place of new Set(files.map(({ place: one }) => one))) await makePlace(place);
  return Promise.all(
    files.map(({ one, place, name }) =>
      limit(() => saveDocument(one, join(place, name), fetchDocument, signal)),
    ),
  );
}

async function saveDocument(
  wanted: WantedDocument,
  file: string,
  fetchDocument: (wanted: WantedDocument) => Promise<Uint8Array>,
  signal: AbortSignal,
): Promise<Document> {
  throwIfInterrupted(signal);
  try {
    const there = await readThere(file);
    if (there !== undefined) return { ...wanted, ...{ state: 'kept', file }, ...digestOf(there) };
    if (wanted.invoice === '')
      throw new DataError('AWS lists it without an id, by which alone its document can be had', {
        next: 'see the invoice in the Billing console',
      });
    const bytes = await fetchDocument(wanted);
    await writeAside(file, (aside) => writeFile(aside, bytes, { flag: 'wx' }));
    return { ...wanted, ...{ state: 'saved', file }, ...digestOf(bytes) };
  } catch (error) {
    if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
    return { ...wanted, ...{ state: 'failed', file, bytes: null, sha256: null, error } };
  }
}

function digestOf(bytes: Uint8Array): Pick<Document, 'bytes' | 'sha256'> {
  return { bytes: bytes.length, sha256: sha256Of(bytes) };
}

/** A file that is there; `undefined` where nothing is. */
async function readThere(path: string): Promise<Uint8Array | undefined> {
  try {
    const opened = await openRegular(path);
    if (opened === undefined)
      throw new ConfigurationError('a folder has the name of the file', {
        where: path,
        next: 'remove it, or name another folder',
      });
    try {
      return await readFile(opened.file);
    } finally {
      await opened.file.close();
    }
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    if (cause instanceof PipelineError || codeOf(cause) === undefined) throw cause;
    throw unwritable(path, cause);
  }
}

/** The folder, without what killed processes have left in it. */
async function makePlace(place: string): Promise<void> {
  try {
    await makeFolder(place);
    // A file that is there is not written again, and what another process left of it would stay.
    await sweepAside(place);
  } catch (cause) {
    if (codeOf(cause) === undefined) throw cause;
    throw unwritable(place, cause);
  }
}

function unwritable(where: string, cause: unknown): ConfigurationError {
  return new ConfigurationError(`the folder cannot be used (${codeOf(cause) ?? ''})`, {
    where,
    next: 'name a folder that this user may write to',
    cause,
  });
}

/** Names of AWS's own kind, in capitals alone: no two of them are one where a file system tells no cases apart. */
const SAFE = /^[A-Z0-9][A-Z0-9_-]{0,79}$/;
/** Names that are devices on Windows, whatever stands behind their point. */
const DEVICE = /^(CON|PRN|AUX|NUL|COM\d|LPT\d)$/;

/**
 * Where a document lies, which depends on nothing but its id: a list that has become longer moves none. An id that
 * is no safe name becomes a digest of itself.
 */
function placeOf(folder: string, { month, organization, invoice }: WantedDocument) {
  const isSafe = SAFE.test(invoice) && !DEVICE.test(invoice);
  const digest = sha256Of(new TextEncoder().encode(invoice)).slice(0, 16);
  return {
    place: join(folder, month, organization),
    name: `${isSafe ? invoice : `invoice-${digest}`}.pdf`,
  };
}

/** What became of the documents, for people: a line each, the file and its sha256, or why there is none. */
export function documentLines(documents: readonly Document[]): string[] {
  if (documents.length === 0) return [];
  const count = (state: Document['state']): string =>
    `${documents.filter((one) => one.state === state).length} ${state}`;
  return [
    '',
    ...documents.map(({ month, organization, invoice, state, file, sha256, error }) =>
      error === undefined
        ? `${state}  ${file}  sha256 ${sha256 ?? ''}`
        : `${state}  ${month} ${organization} ${printable(invoice)}: ${describeError(error, { months: [month], organizations: [organization] })}`,
    ),
    '',
    (['saved', 'kept', 'failed'] as const).map(count).join(', '),
  ];
}

/** The same as JSON. */
export function documentsToJson(documents: readonly Document[]): unknown {
  return documents.map(({ error, ...one }) => ({
    ...one,
    error: error === undefined ? null : errorToJson(error),
  }));
}
