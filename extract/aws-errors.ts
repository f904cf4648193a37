import type { ErrorDetails } from '../pipeline/errors.js';
import {
  ConfigurationError,
  InterruptedError,
  PipelineError,
  TransientError,
} from '../pipeline/errors.js';
import type { Month } from '../pipeline/month.js';
import type { OrganizationAccess } from './organizations.js';

/** AWS no longer honours a continuation token: the query has to begin at its first page. */
export class RefusedTokenError extends TransientError {}

/** A request to AWS, as errors name it. */
export interface Call {
  operation: 'AssumeRole' | 'ListAccounts' | 'GetCostAndUsage';
  month?: Month;
}

/** The request that failed. */
export interface FailedCall extends Call {
  access: OrganizationAccess;
  where: string;
  /** The time limit of one try, in milliseconds. */
  timeout: number;
}

const AGAIN = 'run the same command again: it goes on from what is staged';

const throttles = new Set([
  'LimitExceededException',
  'TooManyRequestsException',
  'Throttling',
  'ThrottlingException',
  'RequestLimitExceeded',
]);
const unknownKeys = new Set(['InvalidClientTokenId', 'UnrecognizedClientException']);
const wrongSignatures = new Set([
  'SignatureDoesNotMatch',
  'InvalidSignatureException',
  'IncompleteSignature',
]);
const denials = new Set(['AccessDenied', 'AccessDeniedException']);
const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** Whether AWS refused the request because the assumed role's session is over. */
export function isExpiredSession(cause: unknown): boolean {
  return ['ExpiredToken', 'ExpiredTokenException'].includes(nameOf(cause));
}

/**
 * What a failed request means for people: the class says whether a rerun may help, the text names
 * the organization, the operation and the remedy. An error that is not AWS's comes back unchanged.
 */
export function awsError(cause: unknown, call: FailedCall, signal?: AbortSignal): unknown {
  if (signal?.aborted === true) return new InterruptedError();
  if (cause instanceof PipelineError || !(cause instanceof Error)) return cause;
  const name = nameOf(cause);
  // What AWS says to a wrong signature may repeat the signed headers, and with them the session's token.
  if (wrongSignatures.has(name)) return wrongSignature(cause, call);
  const details = { where: call.where, cause };
  return (
    refusal(name, cause, call, details) ??
    passing(name, cause, call, details) ??
    ('$fault' in cause
      ? new ConfigurationError(`AWS refused the request: ${quote(cause)}`, details)
      : cause)
  );
}

function wrongSignature(cause: Error, { access, where }: FailedCall): PipelineError {
  if (/expired|not yet current/i.test(cause.message)) {
    return new ConfigurationError('AWS refused the signature because of its time', {
      where,
      next: "set this machine's clock",
    });
  }
  return new ConfigurationError('AWS refused the signature of the access key', {
    where,
    next: `check aws_${access.name}_secret_access_key in the Vault secret`,
  });
}

/** Refusals that a setting or a right would mend, and answers that belong to one operation. */
function refusal(
  name: string,
  cause: Error,
  call: FailedCall,
  details: ErrorDetails,
): PipelineError | undefined {
  const { access, operation } = call;
  if (unknownKeys.has(name)) {
    return new ConfigurationError('AWS does not know the access key', {
      ...details,
      next: `check aws_${access.name}_access_key_id in the Vault secret: the key may be deleted or inactive`,
    });
  }
  if (isExpiredSession(cause)) {
    return new TransientError("AWS calls the role's session expired right after it was assumed", {
      ...details,
      next: `check this machine's clock, then ${AGAIN}`,
    });
  }
  if (denials.has(name)) return denied(cause, call, details);
  switch (name) {
    case 'RegionDisabledException':
      return new ConfigurationError(`STS is not switched on in ${access.region}`, {
        ...details,
        next: 'switch it on in the account settings of IAM, or name another aws_region_name in the Vault secret',
      });
    case 'AWSOrganizationsNotInUseException':
      return new ConfigurationError(`the account of ${access.roleArn} belongs to no organization`, {
        ...details,
        next: `let aws_${access.name}_roleArn name a role of the organization's management account`,
      });
    case 'InvalidNextTokenException':
    case 'RequestChangedException':
      return refusedToken(details);
    case 'DataUnavailableException':
      return new TransientError('Cost Explorer has no data for the month yet', {
        ...details,
        next: 'try again later; after Cost Explorer is first switched on it takes about a day',
      });
    case 'ValidationException':
    case 'BillExpirationException':
      if (operation !== 'GetCostAndUsage') return undefined;
      if (/token/i.test(cause.message)) return refusedToken(details);
      return new ConfigurationError(`Cost Explorer refuses the month: ${quote(cause)}`, {
        ...details,
        next: 'it keeps the current month and the 13 before it, or 38 with multi-year data switched on',
      });
    default:
      return undefined;
  }
}

function refusedToken(details: ErrorDetails): RefusedTokenError {
  return new RefusedTokenError('AWS no longer honours the continuation token', {
    ...details,
    next: AGAIN,
  });
}

function denied(
  cause: Error,
  { access, operation }: FailedCall,
  details: ErrorDetails,
): PipelineError {
  const { roleArn } = access;
  switch (operation) {
    case 'AssumeRole':
      return new ConfigurationError(`the access key may not assume ${roleArn}: ${quote(cause)}`, {
        ...details,
        next: "let the role's trust policy name the key's user, and allow that user sts:AssumeRole on the role",
      });
    case 'ListAccounts':
      return new ConfigurationError(`${roleArn} may not list the accounts: ${quote(cause)}`, {
        ...details,
        next: "allow the role organizations:ListAccounts; it must belong to the organization's management account or to a delegated administrator",
      });
    case 'GetCostAndUsage':
      return new ConfigurationError(`${roleArn} may not ask Cost Explorer: ${quote(cause)}`, {
        ...details,
        next: 'allow the role ce:GetCostAndUsage; Cost Explorer and IAM access to billing must be switched on in the account',
      });
  }
}

/** Trouble that passes: throttles, servers that fail, networks. */
function passing(
  name: string,
  cause: Error,
  { timeout }: FailedCall,
  details: ErrorDetails,
): TransientError | undefined {
  const { status, attempts } = metadataOf(cause);
  const tries = attempts === undefined || attempts < 2 ? '' : ` after ${attempts} tries`;
  if (throttles.has(name) || status === 429) {
    return new TransientError(`AWS still throttles the request${tries}`, {
      ...details,
      next: `wait a minute, then ${AGAIN}; a lower --concurrency or a higher AWS_MAX_ATTEMPTS helps`,
    });
  }
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  if (name === 'TimeoutError' || code === 'ETIMEDOUT') {
    return new TransientError(`AWS gave no answer within ${timeout / 1000} s${tries}`, {
      ...details,
      next: AGAIN,
    });
  }
  if (unreachable.has(code)) {
    return new TransientError(`AWS could not be reached (${code})${tries}`, {
      ...details,
      next: `check the network and any AWS_ENDPOINT_URL, then ${AGAIN}`,
    });
  }
  if (/CERT|TLS|SSL|SELF_SIGNED|VERIFY/.test(code)) {
    return new TransientError(`the certificate of AWS was not accepted (${code})`, {
      ...details,
      next: `check the network's proxy and NODE_EXTRA_CA_CERTS, then ${AGAIN}`,
    });
  }
  if (status !== undefined && status >= 500) {
    return new TransientError(`AWS failed with status ${status}${tries}: ${quote(cause)}`, {
      ...details,
      next: AGAIN,
    });
  }
  if (cause instanceof SyntaxError || (status !== undefined && status < 400)) {
    return new TransientError(`AWS's answer could not be read: ${quote(cause)}`, {
      ...details,
      next: AGAIN,
    });
  }
  return undefined;
}

function nameOf(cause: unknown): string {
  return cause instanceof Error ? cause.name : '';
}

function metadataOf(cause: Error): { status: number | undefined; attempts: number | undefined } {
  const found: object =
    '$metadata' in cause && typeof cause.$metadata === 'object' && cause.$metadata !== null
      ? cause.$metadata
      : {};
  return {
    status:
      'httpStatusCode' in found && typeof found.httpStatusCode === 'number'
        ? found.httpStatusCode
        : undefined,
    attempts:
      'attempts' in found && typeof found.attempts === 'number' ? found.attempts : undefined,
  };
}

/** AWS's own words, on one line and not too many, with the error's name. */
function quote(cause: Error): string {
  const text = cause.message.replaceAll(/\s+/g, ' ').trim().slice(0, 300);
  return text === '' ? cause.name : `${text} (${cause.name})`;
}
