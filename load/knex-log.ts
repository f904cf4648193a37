import type { Knex } from 'knex';
import type { Log } from '../pipeline/log.js';
import { said } from '../pipeline/printable.js';

/** Sends what Knex would print to the run's log; failures are thrown anyway, so that nothing of it is more than a detail. */
export function knexLog(log: Log): Knex.Logger {
  const detail = (message: unknown): void => {
    log.debug({ knex: said(String(message)) }, 'message of the database library');
  };
  return { warn: detail, error: detail, debug: detail, deprecate: detail };
}
