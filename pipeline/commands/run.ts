import type { CommandModule, InferredOptionTypes } from 'yargs';
import { select } from '../config/selection.js';
import { configure } from './configure.js';
import { execute } from './execute.js';
import { selectionOptions, settingOptions, settingWords } from './options.js';

const options = {
  ...selectionOptions,
  ...settingOptions,
  'max-requests': {
    type: 'string',
    requiresArg: true,
    describe:
      'Stop before the Cost Explorer request ($0.01 each) that would exceed this number; what is staged is kept, and the next run goes on',
  },
  'force': {
    type: 'boolean',
    default: false,
    describe: 'Do the chosen stages even where nothing changed',
  },
  'accept-empty': {
    type: 'boolean',
    default: false,
    describe:
      'Load a month too that has lost all its rows or accounts; without it, what is loaded of it stays',
  },
} as const;

type Arguments = InferredOptionTypes<typeof options>;

/** `pipeline run`: the month's extract, transform and load, or some of them. */
export const run: CommandModule<object, Arguments> = {
  command: 'run',
  describe: 'Extract, transform and load months of cost; each stage also runs alone',
  builder: (yargs) =>
    yargs
      .options(options)
      .example('$0 run', 'all stages for the last complete month')
      .example('$0 run --stage extract', 'fetch only')
      .example(
        '$0 run --stage transform --stage load --month 2026-10',
        'rebuild a staged month and load it',
      ),
  async handler(args) {
    const selection = select(args, new Date());
    const needs = {
      organizations: selection.stages.includes('extract'),
      database: selection.stages.includes('load'),
    };
    const config = await configure(args, needs);
    const flags = settingWords(args);
    const { resumeCommand } = await import('../run/summary.js');
    await execute({
      config,
      selection,
      args,
      resume: resumeCommand(selection.stages, flags),
    });
  },
};
