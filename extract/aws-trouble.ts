import type { ErrorDetails } from '../pipeline/errors.js';
import { TransientError } from '../pipeline/errors.js';
import { EndlessAnswerError } from '../pipeline/waits.js';
import type { FailedCall } from './aws-call.js';
import { AGAIN, nameOf, quote } from './aws-call.js';

const throttles = new Set([
  'LimitExceededException',
  'TooManyRequestsException',
  'Throttling',
  'ThrottlingException',
  'RequestLimitExceeded',
]);
const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** Trouble that passes (throttles, servers that fail, networks); `undefined` for any other. */
export function passing(
  cause: Error,
  { timeout }: FailedCall,
  details: ErrorDetails,
): TransientError | undefined {
  if (cause instanceof EndlessAnswerError) {
    return new TransientError(`AWS answered without an end: ${cause.reason}`, {
      ...details,
      next: `check the network's proxy and any AWS_ENDPOINT_URL, then ${AGAIN}; --timeout SECONDS allows more`,
    });
  }
  const name = nameOf(cause);
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
