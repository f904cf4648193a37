import { select, stages } from '../config/selection.js';
import { settingFlags } from '../config/settings.js';
import type { NextRun } from '../shared/commands.js';
import { shownCommand, shownWords, subjectOf } from '../shared/commands.js';
import { UsageError } from '../shared/errors.js';
import { printable } from '../shared/printable.js';
import { formatTable } from '../shared/table.js';
import type { Slice } from '../staging/layout.js';
import { command, configure, flags, off, pick } from './command.js';

/** A month of an organization with the command that does it. */
interface Piece extends Slice {
  /** As it can be pasted where this process runs. */
  command: string;
  /** The same without the program: for what starts a program without a shell. */
  args: string[];
}

/** `pipeline tasks`: what a run would do, in pieces, each with the command that does it alone. */
export const tasks = command({
  name: 'tasks',
  describe: 'Print what a run would do in pieces, each with its command, for engines that run them',
  flags: {
    ...pick('stage', 'month', 'from', 'to', 'organization', 'config'),
    ...settingFlags,
    'force': { ...off(), describe: 'Pieces that are done even where nothing changed' },
    'accept-empty': { ...off(), describe: 'Pieces that load a month too that has lost all' },
    'output': {
      ...flags.output,
      choices: ['table', 'lines', 'json', 'csv'],
      describe:
        'Print a table (default), lines: the commands alone, one JSON document, or its rows as CSV',
    },
    ...pick('json', 'log-level'),
  },
  epilogue:
    'A piece is a month of an organization with the chosen stages, the oldest month first: the same ones as "pipeline run" does with these flags. Every command repeats the settings that were given as flags; environment and configuration file have to be where it runs as they are here. Nothing is written; AWS is not asked.',
  examples: [
    ['tasks --output lines > tasks.txt', "the last complete month's commands, a line each"],
    ['tasks --from 2026-07 --stage transform,load --json', 'with the arguments of each as a list'],
  ],
  async work(args, { log, open }) {
    const selection = select(args, new Date());
    const config = await configure(args, {
      organizations: selection.stages.includes('extract'),
      database: false,
    });
    // Each piece's own run would put it there.
    if (config.queue !== undefined)
      throw new UsageError('pieces are for an engine of your own, and a queue is named', {
        next: 'leave out --queue, PIPELINE_QUEUE and "queue" in the configuration file, or use "pipeline run" with it',
      });
    const { slicesOf } = await import('../run/runner.js');
    const slices = await slicesOf(await open(config), { config, selection, log });
    const chosen: NextRun = {
      stages: selection.stages.length === stages.length ? [] : selection.stages,
      flags: [
        ...(args.force ? ['--force'] : []),
        ...(args['accept-empty'] ? ['--accept-empty'] : []),
      ],
    };
    const pieces = slices.map((slice): Piece => {
      const next = { ...chosen, ...subjectOf(slice) };
      return { ...slice, command: shownCommand(next), args: shownWords(next) };
    });
    return {
      text: () => {
        for (const piece of pieces) refuseUnprintable(piece);
        return args.output === 'lines'
          ? pieces.map((piece) => piece.command).join('\n')
          : formatTable(
              ['month', 'organization', 'command'],
              pieces.map((piece) => [piece.month, piece.organization, piece.command]),
              [],
            );
      },
      json: () => ({ stages: selection.stages, tasks: pieces }),
      table() {
        for (const piece of pieces) refuseUnprintable(piece);
        return { columns: ['month', 'organization', 'command'], rows: pieces };
      },
      failed: false,
    };
  },
});

/** Shown as an escape, a character that turns a terminal's direction would make another setting. */
function refuseUnprintable({ command: line }: Piece): void {
  if (printable(line) === line) return;
  throw new UsageError('a setting has a character that no line can show', {
    where: printable(line),
    next: 'put the setting into the environment or the configuration file, or take --json',
  });
}
