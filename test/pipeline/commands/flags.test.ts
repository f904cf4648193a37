import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import ts from 'typescript';
import { pipeline, root, temporaryFolder } from '../../support/cli.js';

/** Other programs' flags that our messages name, and V8's own. */
const ofOthers = new Set(['--profile', '--arn', '--interrupt-budget']);

/** Not the beginning of one, `--no-`, that a text puts together. */
const flagPattern = /--[a-z][a-z0-9-]*[a-z0-9](?!-)/g;

/** Every text of the product's source, comments left out: the pieces of templates one by one. */
async function* texts(): AsyncGenerator<{ file: string; text: string }> {
  for (const room of ['pipeline', 'extract', 'transform', 'load', 'fixtures']) {
    for (const name of await readdir(join(root, room), { recursive: true })) {
      if (!/\.tsx?$/.test(name)) continue;
      const file = join(room, name);
      const source = await readFile(join(root, file), 'utf8');
      const found: string[] = [];
      const visit = (node: ts.Node): void => {
        if (ts.isStringLiteralLike(node) || ts.isTemplateLiteralToken(node)) found.push(node.text);
        ts.forEachChild(node, visit);
      };
      visit(ts.createSourceFile(file, source, ts.ScriptTarget.Latest));
      for (const text of found) yield { file, text };
    }
  }
}

test('every flag that a message names is one, and belongs to the command that is named with it', async (t) => {
  const cwd = await temporaryFolder(t);
  const help = async (...command: string[]): Promise<string> => {
    const { code, stdout } = await pipeline([...command, '--help'], { cwd });
    t.is(code, 0, command.join(' '));
    return stdout;
  };
  const commands = [...(await help()).matchAll(/^ +pipeline ([a-z]+)/gm)].map(
    ([, name = '']) => name,
  );
  t.true(commands.length >= 8, commands.join());
  const flagsOf = new Map<string, Set<string>>();
  for (const command of commands) {
    const own = new Set<string>();
    for (const [, flag = ''] of (await help(command)).matchAll(/^ +(?:-[a-z], )?--([a-z0-9-]+)/gm))
      own.add(`--${flag}`).add(`--no-${flag}`);
    t.true(own.has('--help'), command);
    flagsOf.set(command, own);
  }
  const all = new Set([...flagsOf.values()].flatMap((flags) => [...flags]));
  let named = 0;
  for await (const { file, text } of texts()) {
    // CSS names its custom properties alike.
    if (file === 'pipeline/report/style.ts') continue;
    for (const [flag] of text.matchAll(flagPattern)) {
      named++;
      t.true(all.has(flag) || ofOthers.has(flag), `${file}: ${flag} in ${JSON.stringify(text)}`);
    }
    for (const [line, command = ''] of text.matchAll(/\bpipeline ([a-z]+)(?: --?[^"]*)?/g)) {
      const own = flagsOf.get(command);
      if (own === undefined) continue;
      for (const [flag] of line.matchAll(flagPattern))
        t.true(own.has(flag), `${file}: "pipeline ${command}" has no ${flag}`);
    }
  }
  t.true(named > 60);
});
