import {
  ConfigurationError,
  DataError,
  InterruptedError,
  PipelineError,
  TransientError,
  UsageError,
} from '../pipeline/errors.js';

/** An error in a form that another thread can be told: a class does not survive the way. */
export interface Thrown {
  name: string;
  message: string;
  stack: string | undefined;
  where: string | undefined;
  next: string | undefined;
  cause: Thrown | undefined;
}

export function describeThrown(error: unknown): Thrown {
  const { where, next } = error instanceof PipelineError ? error : {};
  const known = error instanceof Error ? error : new Error(String(error));
  return {
    name: known.name,
    message: known.message,
    stack: known.stack,
    where,
    next,
    cause: known.cause === undefined ? undefined : describeThrown(known.cause),
  };
}

const classes = { TransientError, ConfigurationError, UsageError, DataError } as const;

/** The error again, of the class that it had, with the stack of the thread that threw it. */
export function restoreThrown(thrown: Thrown): Error {
  const error = withoutStack(thrown);
  if (thrown.stack !== undefined) error.stack = thrown.stack;
  return error;
}

function withoutStack({ name, message, where, next, cause: told }: Thrown): Error {
  const cause = told === undefined ? undefined : restoreThrown(told);
  if (name === 'InterruptedError') return new InterruptedError();
  if (name in classes) {
    return new classes[name as keyof typeof classes](message, {
      ...(where === undefined ? {} : { where }),
      ...(next === undefined ? {} : { next }),
      cause,
    });
  }
  const error = new Error(message, cause === undefined ? {} : { cause });
  error.name = name;
  return error;
}
