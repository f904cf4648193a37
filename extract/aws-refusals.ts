import type { ErrorDetails, PipelineError } from '../pipeline/errors.js';
import { ConfigurationError, TransientError } from '../pipeline/errors.js';
import type { FailedCall } from './aws-call.js';
import { AGAIN, isExpiredSession, nameOf, quote, RefusedTokenError } from './aws-call.js';

const unknownKeys = new Set(['InvalidClientTokenId', 'UnrecognizedClientException']);
const wrongSignatures = new Set([
  'SignatureDoesNotMatch',
  'InvalidSignatureException',
  'IncompleteSignature',
]);
const denials = new Set(['AccessDenied', 'AccessDeniedException']);

/** Without AWS's words: to a wrong signature they may repeat the signed headers, and the session's token with them. */
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

/** A refusal that a setting or a right would mend, or that belongs to one operation; `undefined` for any other. */
export function refusal(
  cause: Error,
  call: FailedCall,
  details: ErrorDetails,
): PipelineError | undefined {
  const { access, operation } = call;
  const name = nameOf(cause);
  if (wrongSignatures.has(name)) return wrongSignature(cause, call);
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
