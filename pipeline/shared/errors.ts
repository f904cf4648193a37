import type { NextRun, Subject } from './commands.js';
import { shownNext } from './commands.js';
import { withoutSecrets } from './printable.js';

/**
 * What went wrong, where, and what the user can do next. The class says which of the three remedies
 * applies; `message` is one sentence for people, `where` names the place (a file, a URL, a setting),
 * `next` is what to do, and `command` the command in it. None of them may hold a secret.
 */
export abstract class PipelineError extends Error {
  readonly where: string | undefined;
  readonly next: string | undefined;
  readonly command: NextRun | undefined;

  constructor(message: string, options: ErrorDetails = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.where = options.where;
    this.next = options.next;
    this.command = options.command;
  }
}

export interface ErrorDetails {
  /** The file, URL, setting or query that the failure belongs to. */
  where?: string;
  /** What the user does next, as an instruction. */
  next?: string;
  /** The command that stands in `next`, see `advice`. */
  command?: NextRun;
  cause?: unknown;
}

/** One of the classes below, as the tables of the services' failures name it. */
export type ErrorClass = new (message: string, details?: ErrorDetails) => PipelineError;

/** A text of such a table, whose `{name}`s stand for facts of the failure. */
export function fill(text: string, facts: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (all, fact: string) => facts[fact] ?? all);
}

/** Passing trouble: a network, a server, a throttle, a lock. Running the same command again may succeed. */
export class TransientError extends PipelineError {}

/** A setting, a right or a secret is wrong. Running again changes nothing before somebody mends it. */
export class ConfigurationError extends PipelineError {}

/** Wrong usage of the command line, known before anything was contacted: exit code 2. */
export class UsageError extends ConfigurationError {}

/** The data itself is wrong: a staged file, an answer, a sum. Neither waiting nor a setting mends it. */
export class DataError extends PipelineError {}

/** A figure lies further from AWS's own than the tolerance: exit code 3. */
export class DifferenceError extends DataError {}

/** The run's budget of requests is used up (`--max-requests`): exit code 4. Another run goes on from here. */
export class BudgetError extends TransientError {}

/** The user (or the system) asked the run to stop: exit code 130. */
export class InterruptedError extends PipelineError {
  constructor() {
    super('interrupted', { next: 'run the same command again: it goes on from what is staged' });
  }
}

/** Why a signal was given: the error that it carries (such as a lost lease), otherwise an interruption. */
export function reasonOf({ reason }: AbortSignal): PipelineError {
  return reason instanceof PipelineError ? reason : new InterruptedError();
}

/** Throws {@link reasonOf} the signal once it has been given. */
export function throwIfInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw reasonOf(signal);
}

/**
 * One line for people: message, place and next step, without a stack trace.
 * @param subject the month and organization that the error is about.
 */
export function describeError(error: unknown, subject?: Subject): string {
  // An error that is not ours may quote what was sent.
  if (!(error instanceof PipelineError))
    return withoutSecrets(error instanceof Error ? error.message : String(error));
  const where = error.where === undefined ? '' : ` [${error.where}]`;
  const next = shownNext(error, subject);
  return `${error.message}${where}${next === undefined ? '' : `; ${next}`}`;
}

/**
 * The same as JSON: class, message, place and next step.
 * @param subject the month and organization that the error is about.
 */
export function errorToJson(error: unknown, subject?: Subject): Record<string, unknown> {
  if (!(error instanceof PipelineError)) return { class: 'Error', message: describeError(error) };
  const next = shownNext(error, subject);
  return {
    class: error.name,
    message: error.message,
    ...(error.where === undefined ? {} : { where: error.where }),
    ...(next === undefined ? {} : { next }),
  };
}

/** What brought an error about, in words, as the log holds it beside the error's own. */
export function causeOf(error: unknown): { cause?: string } {
  const { cause } = error instanceof Error ? error : {};
  return cause === undefined ? {} : { cause: describeError(cause) };
}
