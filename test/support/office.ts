import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { inflateRawSync } from 'node:zlib';
import { installPackages } from './debian.js';

const run = promisify(execFile);

/** A cell as LibreOffice has it: texts are told from numbers. */
export interface OfficeCell {
  isText: boolean;
  text: string;
}

/**
 * Opens a workbook in LibreOffice, and tells what it holds.
 * @param locale the user's, such as `de-DE`.
 * @param shown cells as the user sees them; otherwise numbers as they are.
 * @returns the rows of each sheet, by its name.
 */
export async function openInOffice(
  workbook: string,
  locale: string,
  shown: boolean,
): Promise<Map<string, OfficeCell[][]>> {
  // Commas, quotes, UTF-8, from the first row on; texts in quotes, all sheets.
  const filter = `csv:Text - txt - csv (StarCalc):44,34,76,1,,0,true,true,${shown},false,false,-1`;
  const stem = `${basename(workbook, '.xlsx')}-`;
  const files = await convert(workbook, filter, locale);
  return new Map(
    [...files].map(([name, text]) => [name.slice(stem.length, -'.csv'.length), parse(text)]),
  );
}

/** The workbook in another format of LibreOffice, by the ending of that. */
export async function convertByOffice(workbook: string, ending: string): Promise<string> {
  const [[, text] = ['', '']] = await convert(workbook, ending, 'en-US');
  return text;
}

/**
 * LibreOffice is installed where that is possible.
 * @returns the files that it made, by name.
 */
async function convert(
  workbook: string,
  filter: string,
  locale: string,
): Promise<Map<string, string>> {
  const missing = await installPackages('command -v soffice', 'libreoffice-calc-nogui');
  if (missing !== undefined) throw new Error(`LibreOffice cannot be had: ${missing}`);
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-office-'));
  try {
    // A profile of its own: LibreOffice runs once for each.
    const profile = join(folder, 'profile/user');
    const made = join(folder, 'made');
    await mkdir(profile, { recursive: true });
    await writeFile(join(profile, 'registrymodifications.xcu'), settings(locale));
    await run('soffice', [
      `-env:UserInstallation=file://${join(folder, 'profile')}`,
      ...['--headless', '--convert-to', filter, '--outdir', made, workbook],
    ]);
    const names = await readdir(made);
    return new Map(
      await Promise.all(
        names.map(async (name) => [name, await readFile(join(made, name), 'utf8')] as const),
      ),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function settings(locale: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<item oor:path="/org.openoffice.Setup/L10N"><prop oor:name="ooSetupSystemLocale" oor:op="fuse"><value>${locale}</value></prop></item>
</oor:items>`;
}

/** The text of a file in a workbook, which is a zip file (APPNOTE.TXT, 4.3.12: its central directory). */
export function zippedText(zip: Buffer, file: string): string {
  let at = zip.readUInt32LE(zip.lastIndexOf('PK\x05\x06') + 16);
  for (; zip.readUInt32LE(at) === 0x02014b50;) {
    const [name, extra, comment] = [28, 30, 32].map((place) => zip.readUInt16LE(at + place));
    if (zip.toString('utf8', at + 46, at + 46 + name!) === file) {
      const local = zip.readUInt32LE(at + 42);
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      return inflateRawSync(zip.subarray(start, start + zip.readUInt32LE(at + 20))).toString();
    }
    at += 46 + name! + extra! + comment!;
  }
  throw new Error(`the workbook has no ${file}`);
}

/** Reads CSV of which every text is in quotes. */
function parse(csv: string): OfficeCell[][] {
  const rows: OfficeCell[][] = [];
  let row: OfficeCell[] = [];
  for (const [, quoted, plain = '', end] of csv.matchAll(
    /(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n)/g,
  )) {
    row.push(
      quoted === undefined
        ? { isText: false, text: plain }
        : { isText: true, text: quoted.replaceAll('""', '"') },
    );
    if (end === ',') continue;
    rows.push(row);
    row = [];
  }
  return rows;
}
