import { mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * What `npm run test:real` consists of: a trial for each server or reader that nobody here wrote. It brings the
 * server, names its version, and says what holds on it, each with a check that throws where it does not.
 */
export interface Trial {
  /** As the table names it, such as `MySQL`; any part of it chooses the trial on the command line. */
  server: string;
  attempt: (t: Attempt) => Promise<void>;
}

/** What a trial is given. */
export interface Attempt {
  /** An empty folder, removed when the trial is over. */
  folder: string;
  /** A folder that stays from one suite to the next, for what was downloaded. */
  cache: string;
  /** Says which version is tried. */
  version: (version: string) => void;
  /**
   * Runs one check; `what` stands in the table as what held. Where it fails the trial goes on with the next
   * one, and the suite fails at its end. A check that throws {@link NotRun} is told as not run.
   */
  holds: (what: string, check: () => Promise<void>) => Promise<void>;
  /** Has something ended when the trial is over, the last one first. */
  teardown: (end: () => unknown) => void;
}

/** Thrown where something cannot be run on this machine: its message says why. That is told, and is no failure. */
export class NotRun extends Error {}

export const trial = (server: string, attempt: Trial['attempt']): Trial => ({ server, attempt });

/** How a trial went. */
export interface Tried {
  server: string;
  /** `undefined` where the server was not there to say it. */
  version: string | undefined;
  /** The day, as `2026-11-26` (UTC). */
  date: string;
  held: readonly string[];
  failed: readonly string[];
  /** What was not run, and why. */
  notRun: readonly string[];
}

/** `REAL_CACHE`, else a folder in the user's own cache: outside of the checkout, and safe to remove. */
export const cache =
  process.env['REAL_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'aws-billing-pipeline');

/**
 * Runs a trial to its end; what fails or is not run in it is told in what is returned.
 * @param tell takes a line for whoever waits, and what a check failed with.
 */
export async function runTrial(
  { server, attempt }: Trial,
  tell: (said: unknown) => void,
): Promise<Tried> {
  const folder = await mkdtemp(join(tmpdir(), 'billing-real-'));
  const ends: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true })];
  const [held, failed, notRun]: [string[], string[], string[]] = [[], [], []];
  let version: string | undefined;
  const counted = async (what: string | undefined, work: () => Promise<void>): Promise<void> => {
    const name = what === undefined ? '' : `: ${what}`;
    const start = performance.now();
    const say = (word: string): void => {
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      tell(`${word.padEnd(8)} ${server} ${version ?? ''}${name} (${seconds} s)`);
    };
    try {
      await work();
      if (what === undefined) return;
      held.push(what);
      say('ok');
    } catch (error) {
      if (error instanceof NotRun) {
        notRun.push(what === undefined ? error.message : `${what}: ${error.message}`);
        say('not run');
        tell(`         ${error.message}`);
        return;
      }
      failed.push(what ?? 'the trial itself');
      say('FAILED');
      tell(error);
    }
  };
  await counted(undefined, () =>
    attempt({
      folder,
      cache,
      version: (text) => (version = text),
      holds: counted,
      teardown: (end) => void ends.push(end),
    }),
  );
  for (const end of ends.reverse()) await end();
  return { server, version, date: new Date().toISOString().slice(0, 10), held, failed, notRun };
}

const HEAD = [
  '| server or reader | version | tried on | what held | what did not, or was not run |',
  '| --- | --- | --- | --- | --- |',
];

/**
 * The table "tried with" in Markdown, in the order of `servers`. A server that was not tried this time keeps its line of the
 * table before; one that is no longer among `servers` loses it.
 */
export function triedTable(
  before: string,
  tried: readonly Tried[],
  servers: readonly string[],
): string {
  const lines = new Map(
    before
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) => [line.split(' | ')[0]?.slice(2).trim(), line] as const),
  );
  for (const one of tried) lines.set(one.server, lineOf(one));
  return [...HEAD, ...servers.flatMap((server) => lines.get(server) ?? [])].join('\n');
}

function lineOf({ server, version, date, held, failed, notRun }: Tried): string {
  const less = [
    ...failed.map((what) => `**did not hold**: ${what}`),
    ...notRun.map((what) => `not run: ${what}`),
  ];
  const cells = [server, version ?? '', date, held.join('; '), less.join('; ')];
  return `| ${cells.map((cell) => cell.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`;
}
