import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, parse } from 'node:path';
import type { CustomerGroup, ReportFormat } from '../config/formats.js';
import {
  ConfigurationError,
  PipelineError,
  UsageError,
  describeError,
  throwIfInterrupted,
} from '../shared/errors.js';
import { codeOf, makeFolder } from '../shared/files.js';
import type { Month } from '../shared/month.js';
import { isGone, self } from '../staging/holder.js';
import type { Staging } from '../staging/staging.js';
import type { Look, MonthReport, OrganizationState, State } from './figures.js';
import { monthReport } from './month-report.js';
import type { MonthData } from './months.js';
import { readMonths } from './months.js';
import type { Reported, ToldStatement } from './reported.js';
import {
  REPORTED,
  correctionsOf,
  readReported,
  remember,
  reportedText,
  toldOf,
} from './reported.js';

export interface ReportRequest {
  staging: Staging;
  /** `undefined`: the last month that is transformed. */
  months: readonly Month[] | undefined;
  /** `undefined`: all. */
  organizations: readonly string[] | undefined;
  /** Customers whose statements alone are made: their id, or an account's; `undefined`: everything. */
  customers: readonly string[] | undefined;
  formats: readonly ReportFormat[];
  /** Where the months' folders go. */
  folder: string;
  look: Look;
  groups: readonly CustomerGroup[];
  /** Organizations that the configuration file names. */
  configured: readonly string[];
  provisionalDays: number;
  now: () => Date;
  signal: AbortSignal;
}

/** What was written of a month. */
export interface WrittenMonth {
  month: Month;
  state: State;
  folder: string;
  /** Paths below the folder, of the page as HTML or else as PDF; null where it was not asked for. */
  page: string | null;
  workbook: string | null;
  /** Everything that was written, the above too. */
  files: readonly string[];
  statements: number;
  /** Organizations that are missing, or stale. */
  gaps: readonly OrganizationState[];
}

const PAGE = 'index.html';
/** Statements that are written at once. */
const AT_ONCE = 16;
/** The folder of the statements, in that of the month. */
const CUSTOMERS = 'customers';
const ASIDE = '.aside-';
/** What a statement's file is called, see `file` in figures.ts; every other file is somebody else's. */
const STATEMENT = /^(?:[a-z0-9-]+-)?\d{12}\.(?:html|pdf)$/;

/**
 * Makes the months' reports, one after the other. The files of a month are written aside and take their places
 * together at the end, whole: until then the former ones stay.
 * @throws {DataError} when exports are missing or altered, see {@link readMonths}.
 * @throws {UsageError} when there is no such customer, or a browser is needed and missing.
 * @throws {ConfigurationError} when the folder cannot be written.
 */
export async function makeReports(request: ReportRequest): Promise<WrittenMonth[]> {
  const written: WrittenMonth[] = [];
  if (request.formats.includes('pdf')) await (await import('./pdf.js')).findPrinter();
  for await (const data of readMonths(request)) written.push(await makeReport(request, data));
  return written;
}

async function makeReport(request: ReportRequest, data: MonthData): Promise<WrittenMonth> {
  const { groups, provisionalDays, organizations, folder } = request;
  const { month } = data.shown;
  const reported = new Map<Month, Reported>();
  for (const of of [...data.earlier, data.previous, data.shown])
    reported.set(of.month, await readReported(folder, of.month));
  const report = monthReport(data, {
    ...{ groups, provisionalDays, isPart: organizations !== undefined, made: request.now() },
    corrected: (customer, months, source) =>
      correctionsOf(customer, months, reported, { month, source }),
  });
  const chosen = chooseCustomers(report, request.customers, month);
  const target = join(folder, month);
  try {
    const aside = await openAside(target);
    try {
      const files = await writeFiles(request, report, chosen, aside);
      await place(aside, target, files, chosen === undefined && organizations === undefined);
      return {
        month,
        state: report.figures.state,
        folder: target,
        page: [PAGE, 'index.pdf'].find((name) => files.includes(name)) ?? null,
        workbook: files.find((name) => name === `${month}.xlsx`) ?? null,
        files: files.filter((name) => name !== REPORTED),
        statements: new Set(
          files.filter((name) => name.startsWith(CUSTOMERS)).map((name) => parse(name).name),
        ).size,
        gaps: report.figures.organizations.filter(({ reason }) => reason !== null),
      };
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
  } catch (cause) {
    if (cause instanceof PipelineError || codeOf(cause) === undefined) throw cause;
    throw new ConfigurationError(`the report cannot be written: ${describeError(cause)}`, {
      where: target,
      next: 'name another folder with --out, or make room in it',
      cause,
    });
  }
}

/** The statements' files of the customers that were asked for; `undefined`: all. */
function chooseCustomers(
  { figures }: MonthReport,
  wanted: readonly string[] | undefined,
  month: Month,
): ReadonlySet<string> | undefined {
  if (wanted === undefined) return undefined;
  const known = new Map<string, string>();
  for (const { customers } of figures.currencies)
    for (const { id, accounts, file } of customers)
      for (const name of [id, ...accounts]) known.set(name, file);
  const unknown = wanted.filter((name) => !known.has(name));
  if (unknown.length > 0) {
    const missing = figures.organizations.filter(({ state }) => state === 'missing');
    const names = missing.map(({ organization }) => organization).join(', ');
    throw new UsageError(`there is no customer ${unknown.join(', ')} in ${month}`, {
      where: '--customer',
      next:
        missing.length === 0
          ? 'give an account id of 12 digits, or a name of "customers" in the configuration file'
          : `it may be of an organization whose figures are not there: ${names}`,
    });
  }
  return new Set(wanted.flatMap((name) => known.get(name) ?? []));
}

/**
 * Writes a month's files aside.
 * @returns their paths below the month's folder, in the order in which they take their places: who opens a page
 * finds what it leads to.
 */
async function writeFiles(
  { formats, look, folder, signal }: ReportRequest,
  report: MonthReport,
  chosen: ReadonlySet<string> | undefined,
  aside: string,
): Promise<string[]> {
  const { figures } = report;
  const [isHtml, isPdf] = [formats.includes('html'), formats.includes('pdf')];
  const workbook =
    formats.includes('xlsx') && chosen === undefined ? `${figures.month}.xlsx` : null;
  const pages: string[] = [];
  const told: ToldStatement[] = [];
  const write = (name: string, content: string): Promise<void> => {
    pages.push(name);
    return writeFile(join(aside, name), content);
  };
  if (isHtml || isPdf) {
    const { renderMonth } = await import('./page.js');
    const { renderStatement } = await import('./statement.js');
    let writing: Promise<void>[] = [];
    for (const statement of report.statements(chosen)) {
      throwIfInterrupted(signal);
      const page = renderStatement(statement, look);
      writing.push(write(`${CUSTOMERS}/${statement.file}.html`, page));
      told.push(...toldOf(statement));
      if (writing.length < AT_ONCE) continue;
      await Promise.all(writing);
      writing = [];
    }
    await Promise.all(writing);
    if (chosen === undefined) await write(PAGE, renderMonth(figures, look, { workbook }));
  }
  const files: string[] = [];
  if (workbook !== null) {
    const { writeWorkbook } = await import('./workbook.js');
    await writeWorkbook(report, look, join(aside, workbook));
    files.push(workbook);
  }
  if (isPdf) {
    const { printPages } = await import('./pdf.js');
    files.push(...(await printPages(aside, pages, signal)));
  }
  if (isHtml) files.push(...pages);
  if (pages.length > 0) {
    // Read anew: another process may have told other customers meanwhile.
    const reported = await readReported(folder, figures.month);
    for (const one of told) remember(reported, one);
    await writeFile(join(aside, REPORTED), reportedText(figures.month, reported));
    files.push(REPORTED);
  }
  return files;
}

/** A folder for unfinished files, in the month's own; those of processes that are gone are removed. */
async function openAside(target: string): Promise<string> {
  await makeFolder(join(target, CUSTOMERS));
  for (const name of await readdir(target)) {
    const [machine = '', pid = '', token = ''] = name.slice(ASIDE.length).split('.');
    if (name.startsWith(ASIDE) && isGone({ machine, pid: Number(pid), token }))
      await rm(join(target, name), { recursive: true, force: true });
  }
  const aside = join(target, `${ASIDE}${self.machine}.${self.pid}.${self.token}`);
  await mkdir(join(aside, CUSTOMERS), { recursive: true });
  return aside;
}

/**
 * Gives the files their places, each whole from one moment to the next.
 * @param isAll whether these are the statements of all customers: those of others are then of no month any more.
 */
async function place(
  aside: string,
  target: string,
  files: readonly string[],
  isAll: boolean,
): Promise<void> {
  for (const name of files) await rename(join(aside, name), join(target, name));
  if (!isAll) return;
  const made = new Set(files);
  const kinds = new Set(
    files.filter((name) => dirname(name) === CUSTOMERS).map((name) => parse(name).ext),
  );
  for (const name of await readdir(join(target, CUSTOMERS)))
    if (STATEMENT.test(name) && kinds.has(parse(name).ext) && !made.has(`${CUSTOMERS}/${name}`))
      await rm(join(target, CUSTOMERS, name));
}
