import { lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import type { Source } from '../../load/source.js';
import type { TableExport } from '../../transform/table-export.js';
import { checkWritten } from '../../transform/table-export.js';
import { absentSlices } from '../run/known-organizations.js';
import { ConfigurationError, DataError, PipelineError, UsageError } from '../shared/errors.js';
import { codeOf, isRegular, syncFolder } from '../shared/files.js';
import type { Month } from '../shared/month.js';
import { isProvisional } from '../shared/provisional.js';
import type { SumsText } from '../shared/sums.js';
import { formatSums, noSums } from '../shared/sums.js';
import { addRows, valueAt } from '../staging/batch.js';
import { stagedSlices } from '../staging/extractions.js';
import { isGone, self } from '../staging/holder.js';
import type { Slice } from '../staging/layout.js';
import { sha256Of } from '../staging/staging.js';
import type { Column } from '../staging/tables.js';
import type { Choice } from './exported-rows.js';
import { columnsOf, findRows } from './exported-rows.js';

/** The kinds of file that rows are exported to, each with the end of its name. */
export const fileFormats = ['csv', 'xlsx', 'parquet'] as const;
export type FileFormat = (typeof fileFormats)[number];

/**
 * The kind of a file.
 * @param format as `--format` names it; by default the end of the file's name tells it.
 * @throws {UsageError} when neither tells it.
 */
export function formatOf(file: string, format: string | undefined): FileFormat {
  const said = format ?? extname(file).slice(1).toLowerCase();
  const found = fileFormats.find((one) => one === said);
  if (found !== undefined) return found;
  throw new UsageError(`"${file}" does not tell the kind of the file`, {
    next: `end it with ${fileFormats.map((one) => `.${one}`).join(', ')}, or name one with --format`,
  });
}

/** What was written. */
export interface ExportedRows {
  file: string;
  format: FileFormat;
  months: readonly Month[];
  organizations: readonly string[];
  /** Accounts with rows in the file. */
  customers: number;
  /** Rows and exact sums of the file's columns of money. */
  sums: SumsText;
  /** Months of which AWS may still change figures. */
  provisional: readonly Month[];
  /** What the file tells of an older extraction than the current one. */
  stale: readonly Slice[];
  /** Of which the months around hold something, and the file and the staging area do not. */
  absent: readonly Slice[];
}

/**
 * Writes the chosen rows as one file, which appears whole or not at all; an older one of that name is replaced.
 * What went into the file is compared, exactly, with what was read.
 * @throws {DataError} when a month is not exported, there are no rows, or a staged file is missing or altered.
 * @throws {UsageError} on an unknown customer. @throws {ConfigurationError} when the file cannot be written.
 */
export async function exportRows(
  choice: Choice & { file: string; format: FileFormat; provisionalDays: number; now: Date },
): Promise<ExportedRows> {
  const { format, provisionalDays } = choice;
  const file = resolve(choice.file);
  const { sources, batches } = await findRows(choice);
  const columns = columnsOf(choice);
  const made = noSums();
  const customers = new Set<unknown>();
  await writeAside(file, async (aside) => {
    const { rows, close } = await openFile(aside, format, { columns, sources }, choice.signal);
    try {
      for await (const batch of batches()) {
        addRows(made, columns, batch.length, (index) => batch.columns[index]);
        for (let row = 0; row < batch.length; row++)
          customers.add(valueAt(batch.columns[REFERENCE], row));
        await rows.write(batch);
      }
      if (made.rows === 0) {
        throw new DataError('there are no rows to export', {
          where: choice.staging.location,
          next: 'choose other months, organizations or customers',
        });
      }
      checkWritten(file, await rows.finish(), made);
    } finally {
      await close();
    }
  });
  const manifests = sources.map(({ manifest }) => manifest);
  const provisional = manifests.filter((manifest) =>
    isProvisional({ ...manifest, provisionalDays }),
  );
  const staged = await stagedSlices(choice.staging);
  const stale = manifests.filter(({ month, organization, extraction }) => {
    const found = staged.find(
      ({ slice }) => slice.month === month && slice.organization === organization,
    );
    return found?.survey.current !== undefined && found.survey.current !== extraction;
  });
  const unasked = new ConfigurationError('an export asks nobody');
  const { slices: absent } = absentSlices(
    { entries: [], unasked },
    staged.map(({ slice }) => slice),
    choice.months,
    choice.organizations,
    choice.now,
  );
  return {
    file,
    format,
    months: choice.months,
    organizations: [...new Set(manifests.map(({ organization }) => organization))].sort(),
    customers: customers.size,
    sums: formatSums(made),
    provisional: [...new Set(provisional.map(({ month }) => month))],
    stale: stale.map(({ month, organization }) => ({ month, organization })),
    absent,
  };
}

/** Its place is the same in every file. */
const REFERENCE = columnsOf({ customer: undefined }).findIndex(({ name }) => name === 'Reference');

/** Begins the file. */
async function openFile(
  path: string,
  format: FileFormat,
  { columns, sources }: { columns: readonly Column[]; sources: readonly Source[] },
  signal: AbortSignal,
): Promise<{ rows: TableExport; close: () => Promise<void> }> {
  if (format === 'xlsx') {
    const { openSpreadsheet } = await import('./spreadsheet.js');
    const [made = ''] = sources
      .map(({ manifest }) => manifest.finished)
      .sort()
      .reverse();
    return {
      rows: openSpreadsheet(path, columns, made, signal),
      close: () => Promise.resolve(),
    };
  }
  const openRows =
    format === 'csv'
      ? (await import('../../transform/csv.js')).openCsv
      : (await import('../../transform/parquet.js')).openParquet;
  const handle = await open(path, 'wx');
  const out = { write: (chunk: Uint8Array) => handle.appendFile(chunk) };
  return { rows: openRows(out, columns), close: () => handle.close() };
}

/** This machine in a file's name: short, since names of files have an end. */
const machine = sha256Of(new TextEncoder().encode(self.machine)).slice(0, 12);

/**
 * The name under which this process writes a file of that name, beside its place. What processes of this machine that
 * are gone (killed, as a rule) have left under such a name is removed.
 */
async function asideOf(file: string): Promise<string> {
  const [folder, start] = [dirname(file), `.${basename(file)}.`];
  for (const name of await readdir(folder)) {
    const left = name.startsWith(start) ? ASIDE.exec(name.slice(start.length)) : null;
    const [, where, pid = '', token = ''] = left ?? [];
    if (where === machine && isGone({ machine: self.machine, pid: Number(pid), token }))
      await rm(join(folder, name), { force: true });
  }
  return join(folder, `${start}${machine}.${self.pid}.${self.token}.tmp`);
}

const ASIDE = /^([0-9a-f]{12})\.(\d+)\.([0-9a-f]{12})\.tmp$/;

/**
 * Has a file written beside its place, forces it to the disk and renames it: whoever reads it sees all of the old one
 * or all of the new one. Nothing is left of it where `write` fails; what a killed process left, the next one of the
 * same name removes.
 */
export async function writeAside(
  file: string,
  write: (aside: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(file);
  let aside: string | undefined;
  try {
    const there = await lstat(file).catch((cause: unknown) => {
      if (codeOf(cause) === 'ENOENT') return undefined;
      throw cause;
    });
    if (there !== undefined && !isRegular(there, file))
      throw new ConfigurationError('a folder has that name', { where: file, next: 'name a file' });
    aside = await asideOf(file);
    await write(aside);
    const written = await open(aside, 'r+');
    await written.sync().finally(() => written.close());
    await rename(aside, file);
    await syncFolder(folder);
  } catch (cause) {
    if (aside !== undefined) await rm(aside, { force: true }).catch(() => undefined);
    const code = codeOf(cause);
    if (cause instanceof PipelineError || code === undefined) throw cause;
    throw new ConfigurationError(`the file cannot be written (${code})`, {
      where: file,
      next: 'check that its folder exists, that this user may write there, and that there is room',
      cause,
    });
  }
}
