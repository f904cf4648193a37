import { ConfigurationError, InterruptedError, PipelineError } from '../pipeline/errors.js';
import type { FailedCall } from './aws-call.js';
import { quote } from './aws-call.js';
import { credentialTrouble } from './credential-errors.js';
import { refusal } from './aws-refusals.js';
import { passing } from './aws-trouble.js';

/**
 * What a failed request means for people: the class says whether a rerun may help, the text names
 * the organization, the operation and the remedy. An error that is not AWS's comes back unchanged.
 */
export function awsError(cause: unknown, call: FailedCall, signal?: AbortSignal): unknown {
  if (signal?.aborted === true) return new InterruptedError();
  if (cause instanceof PipelineError || !(cause instanceof Error)) return cause;
  const details = { where: call.where, cause };
  return (
    credentialTrouble(cause, call, details) ??
    refusal(cause, call, details) ??
    passing(cause, call, details) ??
    ('$fault' in cause
      ? new ConfigurationError(`AWS refused the request: ${quote(cause)}`, details)
      : cause)
  );
}
