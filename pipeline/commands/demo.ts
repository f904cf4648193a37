import { randomUUID } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Reseller } from '../../fixtures/demo/reseller.js';
import type { CustomerGroup } from '../config/formats.js';
import { stages } from '../config/selection.js';
import type { WrittenMonth } from '../report/report-files.js';
import type { Progress } from '../run/progress.js';
import type { RunReport } from '../run/runner.js';
import type { RunRequest } from '../run/task.js';
import { ownCommand, rememberOwn } from '../shared/commands.js';
import { UsageError, describeError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { lastCompleteMonth } from '../shared/month.js';
import type { Context } from './command.js';
import { command, off, one, pick } from './command.js';

/**
 * `pipeline demo`: half a year of real runs, with the real SDK clients over HTTP, against a cloud inside this
 * process.
 */
export const demo = command({
  name: 'demo',
  describe:
    'Try it: half a year of runs against a local stand-in cloud; needs no account, server or key',
  flags: {
    folder: {
      ...one(),
      default: 'demo',
      describe: 'Folder for the staging area, the database and the report',
    },
    force: { ...off(), describe: 'Do every stage even where nothing changed' },
    ...pick('json', 'log-file', 'log-level'),
  },
  async work(args, context) {
    const folder = resolve(args.folder);
    await claim(folder);
    rememberOwn({ instead: ['demo', '--folder', args.folder] });
    const { startCloud } = await import('../../fixtures/cloud/cloud.js');
    const { reseller } = await import('../../fixtures/demo/reseller.js');
    const { figuresOf, formatReport, noNews, reportToJson } = await import('../run/summary.js');
    const { reportJson, reportText } = await import('./report.js');
    const now = new Date();
    const month = lastCompleteMonth(now);
    const shop = reseller(month, now);
    const cloud = await startCloud({ data: shop.data });
    try {
      isolate(process.env, cloud.environment);
      const { runs, reports } = await live(shop, { folder, force: args.force }, context);
      const last = runs.at(-1);
      if (last === undefined) throw new Error('the demo has no month');
      const failed = isFailed(last.report);
      const isWhole = !failed && !context.signal.aborted;
      const before = runs.slice(0, -1).map(({ report }) => report);
      const rest = isWhole
        ? [await told(before), guide(folder, month), '', reportText(reports)]
        : [];
      return {
        text: () => [formatReport(last.report, last.request, noNews), ...rest].join('\n'),
        json: () => ({
          runs: runs.map(({ report, request }) => reportToJson(report, request, noNews)),
          report: reportJson(reports),
        }),
        failed,
        figures: figuresOf(last.report),
      };
    } finally {
      await cloud.close();
    }
  },
});

/**
 * Runs the pipeline day after day, as whoever has used it for half a year did, and makes the reports of the days
 * on which statements went out; ends early where a run fails or is stopped.
 * @returns the runs, oldest first, and the last reports.
 */
async function live(
  { visits, arrive, customersOn }: Reseller,
  { folder, force }: { folder: string; force: boolean },
  { log, signal, open }: Context,
): Promise<{ runs: Done[]; reports: WrittenMonth[] }> {
  const { resolveConfig } = await import('../config/config.js');
  const { createProgress } = await import('../run/progress.js');
  const { run } = await import('../run/runner.js');
  const { extractionName } = await import('../staging/layout.js');
  const { makeReportsOf } = await import('./report.js');
  const progress = await createProgress(process.stderr);
  const runs: Done[] = [];
  let reports: WrittenMonth[] = [];
  try {
    for (const visit of visits) {
      arrive(visit);
      const { month, organizations, since, day } = visit;
      const file = settingsFile(folder, customersOn(day));
      const needs = { organizations: true, database: true };
      const config = resolveConfig({}, process.env, file, needs);
      const began = Date.now();
      const clock = (): Date => new Date(day.getTime() + Date.now() - began);
      // What AWS has changed since a visit is fetched where it was not yet: a second demo pays for nothing.
      const changed = runs
        .flatMap(({ report }) => report.tasks)
        .some(
          (task) =>
            since !== undefined &&
            task.month === month &&
            (organizations?.includes(task.organization) ?? true) &&
            task.outcome !== undefined &&
            task.outcome.extraction >= extractionName(since) &&
            task.outcome.extraction < extractionName(new Date(since.getTime() + HOUR)),
        );
      const isLast = visit === visits.at(-1);
      const words = [month, `as on ${day.toISOString().slice(0, 10)}`, ...(organizations ?? [])];
      const label = words.join('  ');
      if (!isLast) progress.show(label, 'run', '…');
      const request: RunRequest = {
        runId: randomUUID(),
        config,
        selection: { months: [month], organizations, stages },
        force: force || changed,
        signal,
        log,
        progress: isLast ? progress : withoutTasks(progress),
        now: clock,
      };
      const report = await run(request);
      runs.push({ request, report });
      const isStopped = isFailed(report) || signal.aborted;
      const isNew = isLast || report.tasks.some(({ state }) => state === 'done');
      if (visit.isReported && isNew && !isStopped) {
        const { staging } = await open(config);
        const chosen = { staging, months: [month], organizations: undefined, customers: undefined };
        reports = await makeReportsOf(config, { ...chosen, signal, now: clock });
      }
      if (!isLast)
        progress.end(label, isFailed(report) ? 'failed' : `${report.seconds.toFixed(1)} s`);
      if (isStopped) break;
    }
  } finally {
    progress.stop();
  }
  return { runs, reports };
}

/** A run of the demo, with what it was asked to do. */
interface Done {
  request: RunRequest;
  report: RunReport;
}

/** The demo's settings, as a configuration file has them. */
function settingsFile(folder: string, customers: readonly CustomerGroup[]) {
  return {
    staging: resolve(folder, 'staging'),
    database: `sqlite:${resolve(folder, 'billing.sqlite')}`,
    by: ['record-type', 'tag:team', 'region', 'cost-category:Segment'],
    invoices: true,
    report: {
      out: resolve(folder, 'report'),
      title: 'Meridian Cloud Services',
      footer: 'Invented figures of an invented reseller, made by "pipeline demo"',
    },
    customers,
  };
}

/** A run takes no longer. */
const HOUR = 3_600_000;

/** The same without the lines of tasks, of which there are too many to read. */
function withoutTasks(progress: Progress): Progress {
  const silent = (): void => undefined;
  return { ...progress, show: silent, end: silent, whole: silent };
}

function isFailed({ tasks }: RunReport): boolean {
  return tasks.some(({ state }) => state === 'failed');
}

/** The file by which the demo knows a folder of its own. */
const MARK = '.pipeline-demo';

/**
 * Makes the folder the demo's, so that its invented rows never come among real ones.
 * @throws {UsageError} when it is the current one, or holds a staging area or a database that no demo made.
 */
async function claim(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    const names = await readdir(folder);
    const isTaken = ['staging', 'billing.sqlite', 'report'].some((name) => names.includes(name));
    // Where a run without settings puts its data, the next one would find the demo's.
    if (folder === process.cwd() || (isTaken && !names.includes(MARK)))
      throw new UsageError('the folder is, or may become, that of real data', {
        where: folder,
        next: 'name another one with --folder',
      });
    await writeFile(resolve(folder, MARK), 'made by "pipeline demo": invented data\n');
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`the folder cannot be used: ${describeError(cause)}`, {
      where: folder,
      next: 'name another one with --folder',
      cause,
    });
  }
}

/** Takes every setting of a real cloud out of the environment, so that the demo can reach none. */
function isolate(env: NodeJS.ProcessEnv, demoEnvironment: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(env))
    if (/^(AWS|VAULT|PIPELINE)_|_proxy$/i.test(name)) Reflect.deleteProperty(env, name);
  Object.assign(
    env,
    { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true', AWS_EC2_METADATA_DISABLED: 'true' },
    demoEnvironment,
  );
}

/** What the runs before the last one did, in one line. */
async function told(reports: readonly RunReport[]): Promise<string> {
  const { costInWords, requestsOf } = await import('../run/task.js');
  const tasks = reports.flatMap((report) => report.tasks);
  const months = [...new Set(tasks.map(({ month }) => month))].sort();
  const done = tasks.filter(({ state }) => state === 'done').length;
  const seconds = reports.reduce((sum, report) => sum + report.seconds, 0);
  return `before it ${months[0]} to ${months.at(-1)}, ${reports.length} runs: ${done} done; ${costInWords(requestsOf(tasks))}; ${seconds.toFixed(1)} s`;
}

/** Where everything lies, and commands to look into it: what the last month tells, and what it was before. */
function guide(folder: string, month: Month): string {
  const [staging, database] = [resolve(folder, 'staging'), resolve(folder, 'billing.sqlite')];
  return `
Where it lies
  raw answers      ${staging}/raw
  Parquet exports  ${staging}/parquet
  CSV exports      ${staging}/csv
  database         ${database}

What to look into
  duckdb -c "SELECT Organization, Currency, sum(Amount) AS Amount FROM '${staging}/parquet/consumption/*/*.parquet' WHERE month = '${month}' GROUP BY ALL"
  sqlite3 -header ${database} "SELECT TenantName, round(sum(Amount), 2) AS Amount, Currency FROM costs WHERE month = '${month}' GROUP BY Reference, Currency ORDER BY sum(Amount) DESC LIMIT 10"
  sqlite3 -header ${database} "SELECT Value AS Team, round(sum(AmountNumber), 2) AS Amount, Currency FROM breakdowns WHERE Dimension = 'TAG:team' AND BillingPeriod LIKE '${month}%' GROUP BY Team, Currency ORDER BY sum(AmountNumber) DESC"
  ${ownCommand(['changes', '--staging', staging])}
  ${ownCommand(['invoices', '--staging', staging])}`;
}
