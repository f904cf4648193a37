import type { Logger } from 'pino';

/** The run's log. Nothing secret is ever passed to it; `run.ts` gives each task a child with month and organization. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;
