import { readFile, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { fields } from '../../pipeline/config/organization-fields.js';
import type { Field } from '../../pipeline/config/organization-fields.js';
import type { Setting } from '../../pipeline/config/settings.js';
import { settingFlags, settings } from '../../pipeline/config/settings.js';
import { engineStatements } from '../../pipeline/export/engine-tables.js';
import type { Column } from '../../pipeline/staging/tables.js';
import { tableNames, tables } from '../../pipeline/staging/tables.js';
import { root } from '../support/cli.js';
import type { Flags } from './help.js';
import { commandFlags } from './help.js';
import { picture, pictureText } from './picture.js';
import { reportPicture } from './report-picture.js';
import type { Sample } from './samples.js';
import { makeSamples, withoutTimes } from './samples.js';
import { sectionNames, withSection } from './sections.js';

/** What writes the generated parts, as their markers say. */
const COMMAND = 'npm run docs';
const PICTURE = 'docs/demo.svg';
const REPORT = 'docs/report.png';

/** README and docs, by path from the checkout's folder. */
export async function markdownFiles(): Promise<string[]> {
  const docs = await readdir(join(root, 'docs'));
  return [
    'README.md',
    ...docs.filter((file) => file.endsWith('.md')).map((file) => `docs/${file}`),
  ];
}

/**
 * Every file with generated parts as it should be, by path from the checkout's folder. Where only times
 * differ from what stands there, it stays.
 * @throws {Error} when a marker names a part that nothing makes, or nothing shows a part that is made.
 */
export async function generate(): Promise<Map<string, string | Buffer>> {
  const { demo, page, parts: samples } = await makeSamples();
  const parts = new Map<string, string>([
    ...(await declaredParts()),
    ...Object.entries(samples).map(([name, sample]) => [name, block(sample)] as const),
  ]);
  const shown = new Set<string>();
  const files = new Map<string, string | Buffer>();
  for (const file of await markdownFiles()) {
    const old = await readFile(join(root, file), 'utf8');
    const names = sectionNames(old, COMMAND);
    if (names.length === 0) continue;
    const text = names.reduce((made, name) => {
      const part = parts.get(name);
      if (part === undefined) throw new Error(`${file}: nothing makes the part "${name}"`);
      shown.add(name);
      return withSection(made, name, part);
    }, old);
    const style = await resolveConfig(join(root, file));
    const fresh = await format(text, { ...style, parser: 'markdown' });
    files.set(file, withoutTimes(fresh) === withoutTimes(old) ? old : fresh);
  }
  const unused = [...parts.keys()].filter((name) => !shown.has(name));
  if (unused.length > 0) throw new Error(`no file shows ${unused.join(', ')}`);
  files.set(PICTURE, await currentPicture(demo));
  const old = await readFile(join(root, REPORT)).catch(() => Buffer.alloc(0));
  files.set(REPORT, await reportPicture(old, page));
  return files;
}

/** The parts that say what is declared: settings, flags and tables, by name. */
export async function declaredParts(): Promise<ReadonlyMap<string, string>> {
  const commands = await commandFlags(tmpdir());
  return new Map([
    ['settings', settingsTable()],
    ['organizations', organizationsTable()],
    ['flags', flagsTable(commands)],
    ['athena', athenaStatement()],
    ...tableNames.map((table) => [table, columnsTable(table, tables[table])] as const),
  ]);
}

/** The picture that is there, when it is drawn as today and says the same apart from times; else a new one. */
async function currentPicture({ command, output }: Sample): Promise<string> {
  const old = await readFile(join(root, PICTURE), 'utf8').catch(() => '');
  const [typed = '', ...lines] = pictureText(old);
  const says = `${lines.join('\n')}\n`;
  const isSame = typed === `$ ${command}` && withoutTimes(says) === withoutTimes(output);
  return isSame && picture(command, says) === old ? old : picture(command, output);
}

function block({ command, output }: Sample): string {
  return `\`\`\`console\n$ ${command}\n${output.trimEnd()}\n\`\`\``;
}

function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  return [head, head.map(() => '---'), ...body]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
}

const typeNames: Record<Column['type'], string> = {
  string: 'string',
  decimal: 'decimal(38,18)',
  date: 'date',
  timestamp: 'timestamp, UTC, ms',
  boolean: 'boolean',
};

function columnsTable(table: string, columns: readonly Column[]): string {
  const rows = columns.map(({ name, type, length, nullable, description }) => {
    const size = length === undefined ? '' : `(${length})`;
    return [name, `${typeNames[type]}${size}${nullable === true ? ', null' : ''}`, description];
  });
  return markdownTable([[table, 'type', 'what it is'], ...rows]);
}

/** What `pipeline ddl` prints for one table. */
function athenaStatement(): string {
  const staging = { kind: 's3', bucket: 'bucket', prefix: 'prefix' } as const;
  const wanted = { staging, tables: ['consumption'], format: 'parquet' } as const;
  const statements = engineStatements('athena', wanted).map(({ sql }) => `${sql};`);
  return `\`\`\`sql\n${statements.join('\n\n')}\n\`\`\``;
}

/** A meaning may tell in its own words what holds where a setting is not set. */
const ofDefault = / \(default:? ([^)]*)\)/;

function settingsTable(): string {
  const rows = Object.entries<Setting>(settings).map(([path, setting]) => [
    code(path),
    setting.flag === undefined ? '' : code(`--${setting.flag}`),
    setting.env === undefined ? '' : code(setting.env),
    defaultOf(setting),
    setting.meaning.replace(ofDefault, ''),
  ]);
  const head = ['in the file', 'flag', 'environment', 'default', 'what it means'];
  return markdownTable([head, ...rows]);
}

function defaultOf({ default: value, unit, unset, meaning }: Setting): string {
  if (unset !== undefined) return unset;
  if (value === undefined) return ofDefault.exec(meaning)?.[1] ?? '';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'object') return 'none';
  return unit === undefined ? code(String(value)) : `${String(value)} ${unit}`;
}

function organizationsTable(): string {
  const rows = Object.entries<Field>(fields).map(([key, { only, meaning, unset = '' }]) => [
    only === 'secret' ? '' : code(key),
    only === 'file' ? '' : code(`aws_<name>_${key}`),
    meaning,
    unset,
  ]);
  const head = ['key under `organizations`', 'key of the AWS secret', 'what it is', 'default'];
  return markdownTable([head, ...rows]);
}

/** The flags that are no settings: what a command works on, and what it prints. */
function flagsTable(commands: ReadonlyMap<string, Flags>): string {
  const rows = new Map<string, string[]>();
  for (const [command, flags] of commands) {
    for (const [flag, text] of flags) {
      if (flag in settingFlags) continue;
      const row = `${flag}\n${text}`;
      rows.set(row, [...(rows.get(row) ?? []), command]);
    }
  }
  const cells = [...rows].map(([row, of]) => {
    const [flag = '', text = ''] = row.split('\n');
    return [code(`--${flag}`), of.length === commands.size ? 'all' : of.join(', '), text];
  });
  cells.sort(([a = ''], [b = '']) => (a < b ? -1 : a > b ? 1 : 0));
  return markdownTable([['flag', 'of', 'what it means'], ...cells]);
}

function code(text: string): string {
  return `\`${text}\``;
}
