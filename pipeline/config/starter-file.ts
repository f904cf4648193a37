import type { Setting } from './settings.js';
import { settings } from './settings.js';

/** Where the organizations of a new configuration file come from. */
export type Origin =
  | { kind: 'vault'; address: string; awsSecretPath: string }
  | { kind: 'list'; organizations: readonly string[]; profile: string | undefined };

/** The same as the file's own settings. */
export function settingsOf(origin: Origin): Mapping {
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

const HEAD = [
  'Settings of the pipeline. A flag goes before its environment variable, and that before this file.',
  'A setting that is commented out shows its default: take the "# " away to set it.',
];

/** What stands above a group of settings. */
const GROUPS: Readonly<Record<string, string>> = {
  vault:
    'Where the organizations come from. Role id and secret id belong into the environment, VAULT_ROLE_ID and VAULT_SECRET_ID.',
  s3: 'Of a staging area on S3.',
};

/**
 * A configuration file with the settings of an origin, which stand first, and every other setting as a comment with
 * its meaning and its default.
 */
export async function starterFile(origin: Origin): Promise<string> {
  const { stringify } = await import('yaml');
  const given = settingsOf(origin);
  const linesOf = (key: string, setting: Setting, value: unknown, isHidden: boolean): string[] => {
    const shown = value ?? setting.default;
    const lines =
      shown === undefined
        ? [`${key}:`]
        : stringify({ [key]: shown })
            .trimEnd()
            .split('\n');
    return [...comment(wordsOf(setting)), ...(isHidden ? lines.map(hidden) : lines)];
  };
  const all = Object.entries<Setting>(settings).map(([path, setting]) => {
    const [top = '', key] = path.split('.');
    return { top, key, setting };
  });
  const tops = [...new Set([...Object.keys(given), ...all.map(({ top }) => top)])];
  const blocks = tops.map((top) => {
    const value = given[top];
    const isGiven = value !== undefined;
    const inside = isGiven ? (value as Mapping) : {};
    const members: string[] = [];
    for (const { key, setting } of all.filter((one) => one.top === top)) {
      if (key === undefined) return linesOf(top, setting, value, !isGiven);
      const lines = linesOf(key, setting, inside[key], isGiven && inside[key] === undefined);
      members.push(...lines.map((line) => `  ${line}`));
    }
    const whole = [`${top}:`, ...members];
    return [...comment(GROUPS[top] ?? ''), ...(isGiven ? whole : whole.map(hidden))];
  });
  return [HEAD.flatMap(comment), ...blocks].map((lines) => `${lines.join('\n')}\n`).join('\n');
}

type Mapping = Readonly<Record<string, unknown>>;

const hidden = (line: string): string => `# ${line}`;

function wordsOf({ meaning, env, flag, unset }: Setting): string {
  const names = [...(flag === undefined ? [] : [`--${flag}`]), ...(env === undefined ? [] : [env])];
  const place = names.length === 0 ? '' : ` (${names.join(', ')})`;
  return `${meaning}${place}${unset === undefined ? '' : `; unset: ${unset.replaceAll('`', '')}`}`;
}

/** Characters of a line of a comment. */
const WIDTH = 96;

/** A text as lines of a comment. */
function comment(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length + 1 > WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.map(hidden);
}
