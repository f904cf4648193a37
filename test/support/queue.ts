import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RequestRecord } from '../../fixtures/cloud/cloud.js';
import type { Finished } from './cli.js';
import { bareEnvironment, cliFile, finished } from './cli.js';

/** A worker as its machine runs it: a process group of its own, with the children that do the work. */
export interface WorkerProcess {
  /** Given once it waits for work. */
  ready: Promise<void>;
  /** How it ended and what it printed. */
  ended: Promise<Finished>;
  isRunning(): boolean;
  /** Given once neither it nor a child of it is there. @throws {Error} when that takes longer than so many seconds. */
  gone(seconds: number): Promise<void>;
  /** Sends a signal to the worker alone. */
  signal(name: NodeJS.Signals): void;
  /** Sends a signal to it and its children, as what befalls the whole machine does. */
  signalAll(name: NodeJS.Signals): void;
}

export interface WorkerOptions {
  args: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
}

/** Starts `pipeline worker`; it is killed with all its children when the test ends. */
export function startWorker(t: Teardown, { args, cwd, env }: WorkerOptions): WorkerProcess {
  const child = spawn(process.execPath, [cliFile, 'worker', ...args], {
    cwd,
    env: { ...bareEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const { pid = 0 } = child;
  const ended = finished(child);
  const ready = new Promise<void>((resolve, reject) => {
    let told = '';
    child.stderr.on('data', (text: string) => {
      told += text;
      if (READY.test(told)) resolve();
    });
    ended.then(({ stdout, stderr }) => {
      reject(new Error(`the worker ended: ${stdout}${stderr}`));
    }, reject);
  });
  ready.catch(() => undefined);
  const signalAll = (name: NodeJS.Signals): void => {
    try {
      process.kill(-pid, name);
    } catch {
      // Nobody of the group is left.
    }
  };
  t.teardown(async () => {
    signalAll('SIGKILL');
    await ended;
  });
  return {
    ready,
    ended,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    async gone(seconds) {
      const deadline = performance.now() + seconds * 1000;
      while (isAlive(pid)) {
        if (performance.now() > deadline) throw new Error(`a child of worker ${pid} outlives it`);
        await sleep(20);
      }
    },
    signal(name) {
      child.kill(name);
    },
    signalAll,
  };
}

/** Whether any process of a group is there. */
function isAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    return false;
  }
}

interface Teardown {
  teardown: (end: () => Promise<void>) => void;
}

/** What a worker says when it has connected and waits for work. */
const READY = /takes jobs from/;

/** A page of cost as it is told from others: whose, and which one. */
function pageOf({ organization, token, input }: RequestRecord): string {
  return `${organization ?? ''} ${token ?? JSON.stringify(input)}`;
}

/** The pages that were paid for, in the order of their names, each as often as it was. */
export function paidPages(requests: readonly RequestRecord[]): string[] {
  return requests
    .filter(({ charged }) => charged)
    .map(pageOf)
    .sort();
}

/**
 * Pages that were paid for once more, although no fault lost them: whoever is killed loses the one page of a month
 * of an organization that was under way, and whoever goes on with that month asks for it first.
 */
export function paidAgain(requests: readonly RequestRecord[]): string[] {
  const paid = new Set<string>();
  const last = new Map<string, string>();
  const again: string[] = [];
  for (const request of requests.filter(({ charged }) => charged)) {
    const page = pageOf(request);
    const { TimePeriod } = request.input as { TimePeriod?: { Start?: string } };
    const slice = `${TimePeriod?.Start ?? ''} ${request.organization ?? ''}`;
    if (paid.has(page) && last.get(slice) !== page) again.push(page);
    paid.add(page);
    last.set(slice, page);
  }
  return again;
}
