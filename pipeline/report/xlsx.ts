import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';

/**
 * Workbooks of Office Open XML (ECMA-376), sheet after sheet and row after row, so that memory holds a piece of a
 * sheet and no more. A text is a text to whoever opens the file: its cell has the type and the format of one, so
 * that nothing in it is run as a formula and no zero is lost, when somebody edits the cell too.
 */

/**
 * What a column's values are: `amount` is a plain decimal shown as a number with two decimals, of which a
 * program that opens the file keeps 15 digits, and `exact` the same as text; `number` is a plain decimal shown as it
 * is, `share` one shown in percent; `date` is `YYYY-MM-DD`, `instant` ISO 8601; `count` is a whole number.
 */
export type CellKind =
  'text' | 'amount' | 'exact' | 'number' | 'share' | 'date' | 'instant' | 'count';

export interface SheetColumn {
  title: string;
  kind: CellKind;
  /** In characters. */
  width: number;
}

/** Null is an empty cell. */
export type CellValue = string | number | null;

export interface Sheet {
  /** At most 28 characters, without any of `[]:*?/\`. */
  name: string;
  columns: readonly SheetColumn[];
  /** Each with a value for each column. */
  rows: Iterable<readonly CellValue[]>;
}

/** Most rows of a sheet beside its header (Microsoft, Excel specifications and limits: 1,048,576 in all). */
const SHEET_ROWS = 1_048_575;

/** What a workbook says of itself. */
export interface Properties {
  title: string;
  /** ISO 8601. */
  created: string;
}

/**
 * Writes a workbook. What does not fit a sheet goes on in one more, with the sheet's name and a number: none of
 * the rows is left out. The same rows give the same bytes.
 * @param path of a file that is made, or replaced.
 * @param sheetRows most rows of a sheet beside its header.
 * @throws what the rows throw; the system's error where the file cannot be written.
 */
export async function writeXlsx(
  path: string,
  properties: Properties,
  sheets: readonly Sheet[],
  sheetRows = SHEET_ROWS,
): Promise<void> {
  const zip = new ZipFile();
  const output = createWriteStream(path);
  const written = pipeline(zip.outputStream, output);
  try {
    await Promise.race([written, addEntries(zip, properties, sheets, sheetRows)]);
    zip.end();
    await written;
  } catch (cause) {
    output.destroy();
    await written.catch(() => undefined);
    throw cause;
  }
}

/** @throws what the rows throw. */
async function addEntries(
  zip: ZipFile,
  properties: Properties,
  sheets: readonly Sheet[],
  sheetRows: number,
): Promise<void> {
  const add = (name: string, text: string): void => {
    zip.addBuffer(Buffer.from(text), name, entry);
  };
  // Some programs know a workbook by its first entry.
  add('_rels/.rels', relationships(PACKAGE_PARTS));
  const parts: Part[] = [];
  for (const { name, columns, rows } of sheets) {
    const left = cursor(rows);
    for (let number = 1; number === 1 || left.value() !== undefined; number++) {
      const part: Part = { name: number === 1 ? name : `${name} ${number}`, columns, rows: 0 };
      parts.push(part);
      const content = Readable.from(sheetXml(part, left, sheetRows), { objectMode: false });
      zip.addReadStream(content, `xl/worksheets/sheet${parts.length}.xml`, entry);
      await once(content, 'close');
    }
  }
  add('xl/styles.xml', stylesXml);
  add('xl/workbook.xml', workbookXml(parts));
  add(
    'xl/_rels/workbook.xml.rels',
    relationships([
      ...parts.map(
        (_, index) => [`${OFFICE}/worksheet`, `worksheets/sheet${index + 1}.xml`] as const,
      ),
      [`${OFFICE}/styles`, 'styles.xml'],
    ]),
  );
  add('docProps/core.xml', propertiesXml(properties));
  add('[Content_Types].xml', contentTypes(parts));
}

/** Of every entry the first day that a zip file knows, which is the day of no place. */
const entry = { mtime: new Date(1980, 0, 1), forceDosTimestamp: true };

/** What of a sheet goes into one sheet of the file. */
interface Part {
  name: string;
  columns: readonly SheetColumn[];
  /** So far. */
  rows: number;
}

/** Rows one by one, each looked at before it is taken. */
interface Cursor {
  value: () => readonly CellValue[] | undefined;
  advance: () => void;
}

function cursor(rows: Iterable<readonly CellValue[]>): Cursor {
  const iterator = rows[Symbol.iterator]();
  let found: IteratorResult<readonly CellValue[], unknown> | undefined;
  return {
    value() {
      found ??= iterator.next();
      return found.done === true ? undefined : found.value;
    },
    advance() {
      found = undefined;
    },
  };
}

/** Characters of a piece of a file. */
const PIECE = 1 << 16;

function* sheetXml(part: Part, left: Cursor, most: number): Generator<Buffer> {
  const { columns } = part;
  const width = ({ width }: SheetColumn, index: number): string =>
    `<col min="${index + 1}" max="${index + 1}" width="${width}" customWidth="1"/>`;
  const head = columns.map(({ title }) => textCell(title, 'head'));
  let text = [
    `${XML}<worksheet xmlns="${MAIN}"><sheetViews><sheetView workbookViewId="0">`,
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>',
    `</sheetView></sheetViews><cols>${columns.map(width).join('')}</cols>`,
    `<sheetData><row>${head.join('')}</row>`,
  ].join('');
  const writers = columns.map(({ kind }) => writerOf(kind));
  for (let row = left.value(); row !== undefined && part.rows < most; row = left.value()) {
    text += '<row>';
    for (const [index, write] of writers.entries()) text += write(row[index] ?? null);
    text += '</row>';
    part.rows++;
    left.advance();
    if (text.length < PIECE) continue;
    yield Buffer.from(text);
    text = '';
  }
  yield Buffer.from(`${text}</sheetData><autoFilter ref="${rangeOf(part, '')}"/></worksheet>`);
}

/** The cells of a part, header included: `A1:C10`. */
function rangeOf({ columns, rows }: Part, fixed: '' | '$'): string {
  return `${fixed}A${fixed}1:${fixed}${columnName(columns.length - 1)}${fixed}${rows + 1}`;
}

/**
 * How cells look. Number format 49 is text; 4 and 3 are numbers with and without decimals, which whoever opens
 * the file sees as their country writes them (ECMA-376 part 1, 18.8.30).
 */
const looks = {
  plain: look(0),
  text: look(49),
  amount: look(4),
  exact: look(49, '', '<alignment horizontal="right"/>'),
  date: look(164),
  instant: look(165),
  count: look(3),
  share: look(166),
  head: look(49, ' fontId="1" fillId="2" applyFont="1" applyFill="1"'),
};

function look(format: number, more = '', inside = ''): string {
  return `<xf numFmtId="${format}" xfId="0" applyNumberFormat="1"${more}${inside === '' ? '' : ' applyAlignment="1"'}>${inside}</xf>`;
}

/** Begins of cells, each with its look's place in the list. */
const opened = Object.fromEntries(
  Object.keys(looks).map((name, index) => [name, `<c s="${index}"`]),
) as Record<keyof typeof looks, string>;

const NOTHING = '<c/>';

/** Texts whose cells are remembered, of each column: rows repeat most of them. */
const REMEMBERED = 20_000;

function writerOf(kind: CellKind): (value: CellValue) => string {
  const write = writers[kind];
  if (kind !== 'text') return (value) => (value === null ? NOTHING : write(String(value)));
  const known = new Map<string, string>();
  return (value) => {
    if (value === null) return NOTHING;
    const text = String(value);
    let cell = known.get(text);
    if (cell !== undefined) return cell;
    cell = write(text);
    if (known.size === REMEMBERED) known.clear();
    known.set(text, cell);
    return cell;
  };
}

const writers: Record<CellKind, (text: string) => string> = {
  text: (text) => textCell(text, 'text'),
  amount: (text) => numberCell(text, 'amount'),
  exact: (text) => textCell(text, 'exact', text),
  number: (text) => numberCell(text, 'plain'),
  share: (text) => numberCell(text, 'share'),
  date: (text) => numberCell(serial(text), 'date'),
  instant: (text) => numberCell(serial(text), 'instant'),
  count: (text) => numberCell(text, 'count'),
};

type Look = keyof typeof looks;

/** A decimal, a count or a serial number has no character that XML would mind. */
function numberCell(text: string, look: Look): string {
  return `${opened[look]}><v>${text}</v></c>`;
}

function textCell(text: string, look: Look, content = escaped(text)): string {
  return `${opened[look]} t="inlineStr"><is><t xml:space="preserve">${content}</t></is></c>`;
}

/** Days since 1899-12-30, as workbooks count them from March 1900 on. */
function serial(instant: string): string {
  return String(Date.parse(instant) / 86_400_000 + 25_569);
}

/**
 * A text in XML. What XML cannot hold, or would change, is written as `_x000D_`, and what looks so already is
 * kept apart from it (ECMA-376 part 1, 22.9.2.19, ST_Xstring); half of a pair of surrogates is no character.
 */
function escaped(text: string): string {
  return text
    .replaceAll(/_(?=x[0-9A-Fa-f]{4}_)/g, '_x005F_')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(/\p{Surrogate}/gu, '\uFFFD')
    .replaceAll(unfit, (character) => {
      const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
      return `_x${code}_`;
    });
}

/** Control characters but tab and line feed, and the two that are no characters. */
const unfit = /[^\P{Cc}\t\n\x7f-\x9f]|[\uFFFE\uFFFF]/gu;

/** The name of a column by its place: A, …, Z, AA, … */
function columnName(index: number): string {
  const letter = String.fromCharCode(65 + (index % 26));
  return index < 26 ? letter : columnName(Math.floor(index / 26) - 1) + letter;
}

const XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
const MAIN = 'http://schemas.openxmlformats.org/spreadsheetml/2006/main';
const OFFICE = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships';
const PACKAGE = 'http://schemas.openxmlformats.org/package/2006';

const PACKAGE_PARTS = [
  [`${OFFICE}/officeDocument`, 'xl/workbook.xml'],
  [`${PACKAGE}/relationships/metadata/core-properties`, 'docProps/core.xml'],
] as const;

function contentTypes(parts: readonly Part[]): string {
  const override = (name: string, type: string): string =>
    `<Override PartName="/${name}.xml" ContentType="application/vnd.openxmlformats-${type}+xml"/>`;
  const main = 'officedocument.spreadsheetml';
  return [
    `${XML}<Types xmlns="${PACKAGE}/content-types">`,
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>',
    '<Default Extension="xml" ContentType="application/xml"/>',
    override('docProps/core', 'package.core-properties'),
    override('xl/workbook', `${main}.sheet.main`),
    override('xl/styles', `${main}.styles`),
    ...parts.map((_, index) => override(`xl/worksheets/sheet${index + 1}`, `${main}.worksheet`)),
    '</Types>',
  ].join('');
}

function relationships(of: readonly (readonly [type: string, target: string])[]): string {
  const all = of.map(
    ([type, target], index) =>
      `<Relationship Id="rId${index + 1}" Type="${type}" Target="${target}"/>`,
  );
  return `${XML}<Relationships xmlns="${PACKAGE}/relationships">${all.join('')}</Relationships>`;
}

function propertiesXml({ title, created }: Properties): string {
  return [
    `${XML}<cp:coreProperties xmlns:cp="${PACKAGE}/metadata/core-properties"`,
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"',
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">',
    `<dc:title>${escaped(title)}</dc:title>`,
    `<dcterms:created xsi:type="dcterms:W3CDTF">${created}</dcterms:created></cp:coreProperties>`,
  ].join('');
}

/** The sheets by name, each with the hidden name by which Excel knows what its filter is about. */
function workbookXml(parts: readonly Part[]): string {
  const sheets = parts.map(
    ({ name }, index) =>
      `<sheet name="${escaped(name)}" sheetId="${index + 1}" r:id="rId${index + 1}"/>`,
  );
  const filters = parts.map(
    (part, index) =>
      `<definedName name="_xlnm._FilterDatabase" localSheetId="${index}" hidden="1">'${escaped(part.name)}'!${rangeOf(part, '$')}</definedName>`,
  );
  return `${XML}<workbook xmlns="${MAIN}" xmlns:r="${OFFICE}"><sheets>${sheets.join('')}</sheets><definedNames>${filters.join('')}</definedNames></workbook>`;
}

const stylesXml = [
  `${XML}<styleSheet xmlns="${MAIN}">`,
  '<numFmts count="3"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>',
  '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/>',
  '<numFmt numFmtId="166" formatCode="0.0%"/></numFmts>',
  '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>',
  '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>',
  // The first two are the same in every workbook.
  '<fills count="3"><fill><patternFill patternType="none"/></fill>',
  '<fill><patternFill patternType="gray125"/></fill>',
  '<fill><patternFill patternType="solid"><fgColor rgb="FFE8ECF2"/></patternFill></fill></fills>',
  '<borders count="1"><border/></borders>',
  '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>',
  `<cellXfs count="${Object.keys(looks).length}">${Object.values(looks).join('')}</cellXfs>`,
  '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>',
  '</styleSheet>',
].join('');
