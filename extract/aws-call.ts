import { TransientError } from '../pipeline/errors.js';
import type { Month } from '../pipeline/month.js';
import { said } from '../pipeline/printable.js';
import type { OrganizationAccess } from './organizations.js';

/** AWS no longer honours a continuation token: the query has to begin at its first page. */
export class RefusedTokenError extends TransientError {}

/** A request to AWS, as errors name it. */
export interface Call {
  /** `credentials`: what the SDK does to find them, which may be no request at all. */
  operation:
    'credentials' | 'AssumeRole' | 'GetCallerIdentity' | 'ListAccounts' | 'GetCostAndUsage';
  month?: Month;
  /** Whether it asks for a page after the first. */
  continued?: boolean;
}

/** The request that failed. */
export interface FailedCall extends Call {
  access: OrganizationAccess;
  where: string;
  /** The time limit of one try, in milliseconds. */
  timeout: number;
}

/** The next step after trouble that passes. */
export const AGAIN = 'run the same command again: it goes on from what is staged';

/** The error code that AWS gave, or the name of the SDK's own error. */
export function nameOf(cause: unknown): string {
  return cause instanceof Error ? cause.name : '';
}

/** Whether AWS refused the request because the credentials that signed it have run out. */
export function isExpiredSession(cause: unknown): boolean {
  return ['ExpiredToken', 'ExpiredTokenException'].includes(nameOf(cause));
}

/** AWS's own words, with the error's name. */
export function quote(cause: Error): string {
  const [text, name] = [said(cause.message), said(cause.name)];
  return text === '' ? name : `${text} (${name})`;
}
