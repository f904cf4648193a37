import { pipeline } from '../support/cli.js';

/** A command's flags with their explanations, as `--help` shows them. */
export type Flags = ReadonlyMap<string, string>;

/** Every command with its flags, as the built command itself tells them. */
export async function commandFlags(cwd: string): Promise<ReadonlyMap<string, Flags>> {
  const { stdout } = await pipeline(['--help'], { cwd });
  const names = [...stdout.matchAll(/^ {2}pipeline (\w+) /gm)].map(([, name = '']) => name);
  return new Map(
    await Promise.all(
      names.map(async (name) => {
        const help = await pipeline([name, '--help'], { cwd });
        return [name, flagsIn(help.stdout)] as const;
      }),
    ),
  );
}

/** The flags of a help text by name, each explanation on one line, without its type. */
export function flagsIn(help: string): Flags {
  const flags = new Map<string, string>();
  const [options = ''] = help.split(/^Options:\n/m)[1]?.split('\n\n') ?? [];
  // An explanation goes on in lines that are indented further than any flag.
  for (const entry of options.split(/\n(?= {2,6}-)/)) {
    const [, name, text = ''] = /^\s*(?:-\w, )?--([\w-]+)([^]*)$/.exec(entry) ?? [];
    if (name === undefined || name === 'help' || name === 'version') continue;
    flags.set(
      name,
      text
        .replaceAll(/\s*\[[^\]]*\]/g, '')
        .replaceAll(/\s+/g, ' ')
        .trim(),
    );
  }
  return flags;
}
