import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { changes } from './commands/changes.js';
import { check } from './commands/check.js';
import { commandFlags } from './commands/command.js';
import { completion } from './commands/completion.js';
import { customers } from './commands/customers.js';
import { ddl } from './commands/ddl.js';
import { demo } from './commands/demo.js';
import { exportFile } from './commands/export.js';
import { init } from './commands/init.js';
import { invoices } from './commands/invoices.js';
import { closeLog, fail, openLog } from './commands/journal.js';
import { plan } from './commands/plan.js';
import { prune } from './commands/prune.js';
import { reconcile } from './commands/reconcile.js';
import { report } from './commands/report.js';
import { run } from './commands/run.js';
import { status } from './commands/status.js';
import { tasks } from './commands/tasks.js';
import { worker } from './commands/worker.js';
import { misused, onlyUsable, refuseSlips } from './commands/usage.js';
import { settingWords } from './config/settings.js';
import { rememberOwn } from './shared/commands.js';
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
  .command(customers)
  .command(invoices)
  .command(exportFile)
  .command(ddl)
  .command(plan)
  .command(tasks)
  .command(status)
  .command(check)
  .command(worker)
  .command(init)
  .command(demo)
  .command(completion)
  .demandCommand(1, 'name a command')
  .strict()
  // What it says of a wrong flag is read, and told in our words.
  .detectLocale(false)
  .check((args) => onlyUsable(args, words, commandFlags))
  .middleware(openLog, true)
  .middleware((args) => {
    rememberOwn({ flags: settingWords(args, commandFlags.get(String(args._[0])) ?? {}) });
  })
  .version(version)
  .help()
  .alias('h', 'help')
  .wrap(Math.min(110, process.stdout.columns || 100))
  .exitProcess(false)
  .fail((message: string | undefined, error: Error | undefined) => {
    throw error ?? misused(message ?? 'wrong usage', words, commandFlags);
  });

/**
 * yargs renders a command's help whenever it runs one, for a `showHelp` in its handler, which ours never call:
 * a tenth of what `status` takes. `--help` renders its own.
 */
interface Internals {
  getInternalMethods: () => { getUsageInstance: () => { cacheHelpMessage: () => void } };
}
const usage = (cli as unknown as Internals).getInternalMethods().getUsageInstance();
usage.cacheHelpMessage = () => undefined;

async function failed(error: unknown): Promise<void> {
  // A flag without its value is the one fault that yargs itself throws.
  const isMisuse = error instanceof Error && error.name === 'YError';
  await fail(isMisuse ? misused(error.message, words, commandFlags) : error, words);
}

/** Whoever is done goes: a connection that nobody answers any more would hold the process. */
async function end(): Promise<void> {
  closeLog();
  await told();
  process.exit();
}

// What no caller awaits has to stand in the log too.
process.on('uncaughtException', (error) => void failed(error).finally(end));
watchChannels();
try {
  if (words[0] === 'complete') {
    // What a shell's line holds so far is no command line yet.
    const { complete } = await import('./commands/complete.js');
    await complete(words.slice(1));
  } else {
    refuseSlips(words);
    await cli.parseAsync();
    // Help too has to have been taken.
    await print('');
  }
} catch (error) {
  await failed(error);
}
await end();
