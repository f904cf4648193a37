#!/usr/bin/env node
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { changes } from './commands/changes.js';
import { check } from './commands/check.js';
import { closeLog, fail, onlyUsable, openLog } from './commands/command.js';
import { demo } from './commands/demo.js';
import { plan } from './commands/plan.js';
import { prune } from './commands/prune.js';
import { reconcile } from './commands/reconcile.js';
import { report } from './commands/report.js';
import { run } from './commands/run.js';
import { status } from './commands/status.js';
import { settingWords } from './config/settings.js';
import { rememberOwn } from './shared/commands.js';
import { UsageError } from './shared/errors.js';
import { print, tell, told, watchChannels } from './shared/output.js';
import { printable, withoutSecrets } from './shared/printable.js';
import { version } from './shared/version.js';

// The SDK warns on Node 20 at every start; the README says which Node to take instead.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';

const words = hideBin(process.argv);
const isDebug = / --log-level[= ]debug( |$)/.test(process.argv.join(' '));

/**
 * A library's warning may quote what it was given, a configuration's text or an address with its password, so
 * that only its name is shown. Node's own about TLS quotes nothing.
 */
process.removeAllListeners('warning').on('warning', (warning) => {
  const { name, message } = warning;
  const isShown = isDebug || message.includes('NODE_TLS_REJECT_UNAUTHORIZED');
  const text = isShown ? withoutSecrets(message) : 'shown with --log-level debug';
  tell(`pipeline: ${name}: ${printable(text)}`);
});

const cli = yargs(words)
  .scriptName('pipeline')
  .usage(
    '$0 <command>\n\nExact monthly AWS cost per customer account, staged, exported and loaded.',
  )
  .command(run)
  .command(report)
  .command(prune)
  .command(reconcile)
  .command(changes)
  .command(plan)
  .command(status)
  .command(check)
  .command(demo)
  .demandCommand(1, 'name a command')
  .strict()
  .check((args) => onlyUsable(args, words))
  .middleware(openLog, true)
  .middleware((args) => {
    rememberOwn({ flags: settingWords(args) });
  })
  .version(version)
  .help()
  .alias('h', 'help')
  .wrap(Math.min(110, process.stdout.columns || 100))
  .exitProcess(false)
  .fail((message: string | undefined, error: Error | undefined) => {
    throw error ?? misused(message);
  });

/** What yargs says of a command line. */
function misused(message = 'wrong usage'): UsageError {
  return new UsageError(message, { next: 'see "pipeline --help"' });
}

watchChannels();
try {
  await cli.parseAsync();
  // Help too has to have been taken.
  await print('');
} catch (error) {
  // A flag without its value is the one fault that yargs itself throws.
  const isMisuse = error instanceof Error && error.name === 'YError';
  await fail(isMisuse ? misused(error.message) : error, words);
}
closeLog();
await told();
// Whoever is done goes: a connection that nobody answers any more would hold the process.
process.exit();
