import type { Setting } from './settings.js';
import { settings } from './settings.js';

/** Where the organizations of a new configuration file come from. */
export type Origin =
  | { kind: 'vault'; address: string; awsSecretPath: string }
  | { kind: 'list'; organizations: readonly string[]; profile: string | undefined };

/** The same as the file's own settings. */
export function settingsOf(origin: Origin): Readonly<Record<string, unknown>> {
  if (origin.kind === 'vault') {
    const { address, awsSecretPath } = origin;
    return { vault: { address, awsSecretPath } };
  }
  const { profile } = origin;
  return {
    organizations: origin.organizations.map((name) => ({
      name,
      ...(profile === undefined ? {} : { profile }),
    })),
  };
}

/** What stands above the settings of Vault, since the other half of a login belongs elsewhere. */
const LOGIN =
  'Where the organizations come from. The login stands in the environment, VAULT_ROLE_ID and VAULT_SECRET_ID.';

/**
 * A configuration file with the settings of an origin, and every other setting as a comment with its meaning and
 * its default. What is commented out changes nothing.
 */
export async function starterFile(origin: Origin): Promise<string> {
  const { stringify } = await import('yaml');
  const given = settingsOf(origin);
  const yaml = (value: unknown): string => stringify(value, { lineWidth: 0 }).trimEnd();
  const groups = new Map<string, [string, Setting][]>();
  for (const [path, setting] of Object.entries<Setting>(settings)) {
    const [top = '', key] = path.split('.');
    const group = groups.get(top) ?? [];
    groups.set(top, group);
    group.push([key ?? '', setting]);
  }
  const blocks = [...groups].map(([top, group]) => {
    const values = given[top];
    const lines = group.flatMap(([key, setting]) => {
      if (key === '') {
        const said =
          values === undefined ? proposal(top, setting, yaml) : [yaml({ [top]: values })];
        return [...comment(setting), ...said];
      }
      const value = (values as Readonly<Record<string, unknown>> | undefined)?.[key];
      const said = value === undefined ? proposal(key, setting, yaml) : [yaml({ [key]: value })];
      return [...comment(setting), ...said].map((line) => `  ${line}`);
    });
    if (group[0]?.[0] === '') return lines;
    const isGiven = values !== undefined;
    return [
      ...(top === 'vault' ? [`# ${LOGIN}`] : []),
      isGiven ? `${top}:` : `# ${top}:`,
      ...(isGiven ? lines : lines.map((line) => (line.startsWith('  #') ? line.slice(2) : line))),
    ];
  });
  const first = (lines: readonly string[]): number =>
    lines.some((line) => !/^ *#/.test(line)) ? 0 : 1;
  // What is set comes first.
  return [HEAD, ...blocks.sort((a, b) => first(a) - first(b)).map((lines) => lines.join('\n'))]
    .join('\n\n')
    .concat('\n');
}

const HEAD = `# Settings of the pipeline. A flag goes before its environment variable, and that before this file.
# A setting that is commented out shows its default: take the "# " away to set it.`;

function comment({ meaning, env, flag }: Setting): string[] {
  const names = [flag === undefined ? [] : [`--${flag}`], env ?? []].flat();
  return [`# ${meaning}${names.length === 0 ? '' : ` (${names.join(', ')})`}`];
}

function proposal(key: string, setting: Setting, yaml: (value: unknown) => string): string[] {
  const { default: value, unset } = setting;
  const text = value === undefined ? `${key}:` : yaml({ [key]: value });
  return [`# ${text}${unset === undefined ? '' : `   # ${unset.replaceAll('`', '')}`}`];
}
