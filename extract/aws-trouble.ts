import type { ErrorDetails, PipelineError } from '../pipeline/errors.js';
import { ConfigurationError, TransientError } from '../pipeline/errors.js';
import { PROXY_LOGIN, proxyLogin } from '../pipeline/proxy.js';
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

/**
 * Trouble on the way to AWS: what passes (throttles, servers that fail, networks), and settings that no request
 * can be made of; `undefined` for any other.
 */
export function passing(
  cause: Error,
  { timeout }: FailedCall,
  details: ErrorDetails,
): PipelineError | undefined {
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
  if (status === PROXY_LOGIN) return proxyLogin(details.where ?? '');
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
      next: `let AWS_CA_BUNDLE or NODE_EXTRA_CA_CERTS name the authority of the network's proxy, then ${AGAIN}`,
    });
  }
  if (code === 'ERR_INVALID_CHAR') {
    return new ConfigurationError('the AWS credentials hold a character that no header can carry', {
      ...details,
      next: 'check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the shared AWS files for line breaks',
    });
  }
  if (code === 'ERR_INVALID_URL') {
    return new ConfigurationError('an address of AWS cannot be read', {
      ...details,
      next: 'check AWS_ENDPOINT_URL, its likes for one service, and endpoint_url in the shared AWS files',
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
