import { PipelineError, UsageError } from '../shared/errors.js';
import { readInput } from '../shared/files.js';

/** The file that is read when `--config` names none and it is there. */
export const CONFIG_FILE = 'pipeline.config.yaml';

/**
 * Reads the configuration file as plain data.
 * @param named the file that the user named; without it {@link CONFIG_FILE}, when there is one.
 * @throws {UsageError} when a named file is missing, or a file cannot be read as a YAML mapping.
 */
export async function readConfigFile(named: string | undefined): Promise<Record<string, unknown>> {
  const file = named ?? CONFIG_FILE;
  let content: string;
  try {
    content = (await readInput(file)).toString('utf8');
  } catch (cause) {
    if (named === undefined && cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')
      return {};
    const why = cause instanceof PipelineError ? `: ${cause.message}` : '';
    throw new UsageError(`the configuration file cannot be read${why}`, {
      where: file,
      next: 'name a readable file with --config',
      cause,
    });
  }
  const data = await readYaml(content, file);
  if (data === null || data === undefined) return {};
  if (typeof data !== 'object' || Array.isArray(data))
    throw new UsageError('the configuration file is not a mapping of settings', { where: file });
  return data as Record<string, unknown>;
}

/**
 * Reads YAML so that a value stays as it is written: `0x10`, `1e3` and `TRUE` come as texts, and what they
 * may mean is the settings' own question, the same for a flag, a variable and the file.
 *
 * The parser's messages and warnings quote the text at fault, which may be a secret (`secretId: !hunter7` is
 * a tag to it, `&hunter7` an anchor, `*hunter7` an alias): only the line is repeated.
 */
async function readYaml(content: string, file: string): Promise<unknown> {
  const { isCollection, isScalar, LineCounter, parseDocument, visit } = await import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(content, { lineCounter: lines, logLevel: 'silent' });
  const fault = (what: string, offset: number | undefined): UsageError =>
    new UsageError(
      `the configuration file ${what}${offset === undefined ? '' : ` (line ${lines.linePos(offset).line})`}`,
      { where: file, next: 'put a value that begins with one of ! & * % @ ` into quotes' },
    );
  const [wrong] = document.errors;
  if (wrong !== undefined) throw fault('is not YAML', wrong.pos[0]);
  const [doubtful] = document.warnings;
  if (doubtful !== undefined) throw fault('holds a YAML tag or directive', doubtful.pos[0]);
  visit(document, {
    Node(key, node) {
      const place = node.range?.[0];
      if (node.tag !== undefined && node.tag !== 'tag:yaml.org,2002:str')
        throw fault('holds a YAML tag', place);
      if (key === 'key' && isCollection(node)) throw fault('has a key that is no text', place);
      if (!isScalar(node)) return;
      if (node.value === null && node.anchor !== undefined)
        throw fault('holds a YAML anchor without a value', place);
      if (typeof node.value !== 'string' && node.value !== null && node.source !== undefined)
        node.value = node.source;
    },
  });
  try {
    return document.toJS();
  } catch {
    throw fault('holds a YAML alias that cannot be followed', undefined);
  }
}
