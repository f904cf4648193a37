import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { installPackages } from './debian.js';

const run = promisify(execFile);

/** A cell as LibreOffice has it: texts are told from numbers. */
export interface OfficeCell {
  isText: boolean;
  text: string;
}

/**
 * Opens a workbook in LibreOffice, which is installed where that is possible, and tells what it holds.
 * @param locale the user's, such as `de-DE`.
 * @param shown cells as the user sees them; otherwise numbers as they are.
 * @returns the rows of each sheet, by its name.
 */
export async function openInOffice(
  workbook: string,
  locale: string,
  shown: boolean,
): Promise<Map<string, OfficeCell[][]>> {
  const missing = await installPackages('command -v soffice', 'libreoffice-calc-nogui');
  if (missing !== undefined) throw new Error(`LibreOffice cannot be had: ${missing}`);
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-office-'));
  try {
    const profile = join(folder, 'profile/user');
    await mkdir(profile, { recursive: true });
    await writeFile(join(profile, 'registrymodifications.xcu'), settings(locale));
    // Commas, quotes, UTF-8, from the first row on; texts in quotes, all sheets.
    const csv = `csv:Text - txt - csv (StarCalc):44,34,76,1,,0,true,false,${shown},false,false,-1`;
    await run('soffice', [
      `-env:UserInstallation=file://${join(folder, 'profile')}`,
      ...['--headless', '--convert-to', csv, '--outdir', folder, workbook],
    ]);
    const sheets = new Map<string, OfficeCell[][]>();
    const stem = `${basename(workbook, '.xlsx')}-`;
    for (const name of await readdir(folder)) {
      if (!name.startsWith(stem)) continue;
      const text = await readFile(join(folder, name), 'utf8');
      sheets.set(name.slice(stem.length, -'.csv'.length), parse(text));
    }
    return sheets;
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
