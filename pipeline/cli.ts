#!/usr/bin/env node
import { hideBin } from 'yargs/helpers';
import yargs from 'yargs';
import { changes } from './commands/changes.js';
import { demo } from './commands/demo.js';
import { prune } from './commands/prune.js';
import { onlyRepeatables } from './commands/options.js';
import { reconcile } from './commands/reconcile.js';
import { check } from './commands/check.js';
import { plan } from './commands/plan.js';
import { run } from './commands/run.js';
import { status } from './commands/status.js';
import { describeError, InterruptedError, UsageError } from './errors.js';
import { printed, tell, told, watchChannels } from './output.js';
import { version } from './version.js';

// The SDK warns on Node 20 at every start; the README says which Node to take instead.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT_USAGE;
  return error instanceof InterruptedError ? EXIT_INTERRUPTED : EXIT_FAILED;
}

const cli = yargs(hideBin(process.argv))
  .scriptName('pipeline')
  .usage(
    '$0 <command>\n\nExact monthly AWS cost per customer account, staged, exported and loaded.',
  )
  .command(run)
  .command(prune)
  .command(reconcile)
  .command(changes)
  .command(plan)
  .command(status)
  .command(check)
  .command(demo)
  .demandCommand(1, 'name a command')
  .strict()
  .check(onlyRepeatables)
  .version(version)
  .help()
  .alias('h', 'help')
  .wrap(Math.min(110, process.stdout.columns || 100))
  .exitProcess(false)
  .fail((message: string | undefined, error: Error | undefined) => {
    // A flag without its value is the one fault that yargs itself throws.
    if (error !== undefined && error.name !== 'YError') throw error;
    throw new UsageError(message ?? 'wrong usage', { next: 'see "pipeline --help"' });
  });

watchChannels();
try {
  await cli.parseAsync();
  await printed();
} catch (error) {
  tell(`pipeline: ${describeError(error)}\n`);
  if (/ --log-level[= ]debug( |$)/.test(process.argv.join(' ')) && error instanceof Error)
    tell(`${error.stack ?? ''}\n`);
  process.exitCode = exitCodeOf(error);
}
await told();
// Whoever is done goes: a connection that nobody answers any more would hold the process.
process.exit();
