import type { ErrorDetails, PipelineError } from '../pipeline/errors.js';
import { ConfigurationError, TransientError } from '../pipeline/errors.js';
import type { FailedCall } from './aws-call.js';
import { AGAIN, isExpiredSession, nameOf, quote, RefusedTokenError } from './aws-call.js';
import { denied } from './aws-denials.js';
import { askerOf, credentialsOf, renewalOf, settingOf } from './wording.js';

const unknownKeys = new Set(['InvalidClientTokenId', 'UnrecognizedClientException']);
const wrongSignatures = new Set([
  'SignatureDoesNotMatch',
  'InvalidSignatureException',
  'IncompleteSignature',
]);
const denials = new Set(['AccessDenied', 'AccessDeniedException']);

/** How far back Cost Explorer goes (AWS Cost Management user guide). */
const HISTORY =
  'it keeps the current month and the 13 before it, or 38 with multi-year data switched on';

/** Without AWS's words: to a wrong signature they may repeat the signed headers, and the session's token with them. */
function wrongSignature(cause: Error, { access, where }: FailedCall): PipelineError {
  if (/expired|not yet current/i.test(cause.message)) {
    return new ConfigurationError('AWS refused the signature because of its time', {
      where,
      next: "set this machine's clock",
    });
  }
  return new ConfigurationError(`AWS refused the signature of ${credentialsOf(access)}`, {
    where,
    next:
      access.credentials.kind === 'keys'
        ? `check aws_${access.name}_secret_access_key in the Vault secret`
        : 'check the secret access key',
  });
}

/**
 * STS gives the same answer to every key in a region that an account has not opted into (AWS Account
 * Management reference guide, "Enable or disable AWS Regions in your account"); us-east-1 cannot be disabled.
 */
function regionHint(access: FailedCall['access']): string {
  const { region } = access;
  // Only the commercial partition has regions to opt into, and that region; no partition knows another's keys.
  if (region === 'us-east-1' || region === 'aws-global') return '';
  if (/^(?:cn|eusc|us-iso[a-z]*|eu-iso[a-z]*|aws-[a-z-]+)-/.test(region))
    return `, or of another partition than the region ${region} (${settingOf(access, 'region')})`;
  return `, or the region ${region} is not enabled for this account; use us-east-1 (${settingOf(access, 'region')})`;
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
    const keys = access.credentials.kind === 'keys';
    return new ConfigurationError(
      keys
        ? 'AWS does not know the access key'
        : `AWS does not know the access key of ${credentialsOf(access)}`,
      {
        ...details,
        next: `check ${keys ? `aws_${access.name}_access_key_id in the Vault secret` : 'it'}: the key may be deleted or inactive${name === 'InvalidClientTokenId' ? regionHint(access) : ''}`,
      },
    );
  }
  if (isExpiredSession(cause)) return expired(call, details);
  if (denials.has(name)) return denied(cause, call, details);
  switch (name) {
    case 'RegionDisabledException':
      return new ConfigurationError(`STS is not switched on in ${access.region}`, {
        ...details,
        next: `switch it on in the account settings of IAM, or change ${settingOf(access, 'region')}`,
      });
    case 'AWSOrganizationsNotInUseException':
      return new ConfigurationError(
        `the account of ${askerOf(access)} belongs to no organization`,
        {
          ...details,
          next: `let ${settingOf(access, 'roleArn')} name a role of the organization's management account, or set ${settingOf(access, 'listAccounts')} to false`,
        },
      );
    case 'InvalidNextTokenException':
    case 'RequestChangedException':
      return refusedToken(details);
    case 'DataUnavailableException':
      return new TransientError('Cost Explorer has no data for the month yet', {
        ...details,
        next: 'try again later; after Cost Explorer is first switched on it takes about a day',
      });
    case 'BillingViewHealthStatusException':
      return unhealthyView(call, details);
    case 'ResourceNotFoundException':
      if (access.billingViewArn === undefined) return undefined;
      return new ConfigurationError(
        `Cost Explorer does not serve the billing view ${access.billingViewArn}: ${quote(cause)}`,
        { ...details, next: `check ${settingOf(access, 'billingViewArn')}` },
      );
    case 'BillExpirationException':
      // Between two pages it is the answer begun that has gone, not yet the month.
      if (call.continued === true) return refusedToken(details);
      return new ConfigurationError(`Cost Explorer no longer has the month: ${quote(cause)}`, {
        ...details,
        next: HISTORY,
      });
    case 'InvalidInputException':
      if (operation !== 'ListAccounts' || !isTokenRefusal(cause)) return undefined;
      return new TransientError('AWS no longer honours the continuation token of the accounts', {
        ...details,
        next: AGAIN,
      });
    case 'ValidationException':
      if (operation !== 'GetCostAndUsage') return undefined;
      if (/token/i.test(cause.message)) return refusedToken(details);
      return new ConfigurationError(`Cost Explorer refuses the month: ${quote(cause)}`, {
        ...details,
        next: HISTORY,
      });
    default:
      return undefined;
  }
}

/** The role's own session can only be too old by a wrong clock: it has just been renewed. */
function expired({ access, operation }: FailedCall, details: ErrorDetails): PipelineError {
  if (access.role !== undefined && ['ListAccounts', 'GetCostAndUsage'].includes(operation)) {
    return new TransientError("AWS calls the role's session expired right after it was assumed", {
      ...details,
      next: `check this machine's clock, then ${AGAIN}`,
    });
  }
  const who = credentialsOf(access);
  return new ConfigurationError(
    `${access.credentials.kind === 'keys' ? who : `the login of ${who}`} has expired`,
    { ...details, next: renewalOf(access) },
  );
}

/**
 * A view that is made or changed now is healthy again by itself; one whose source has gone or is shared no
 * more is not, so that people have to look at it.
 */
function unhealthyView({ access }: FailedCall, details: ErrorDetails): TransientError {
  const arn = access.billingViewArn;
  return new TransientError(
    `${arn === undefined ? "the organization's own billing view" : `the billing view ${arn}`} is not healthy, so Cost Explorer does not serve it`,
    {
      ...details,
      next: `${arn === undefined ? '' : `see its status and reason with "aws billing get-billing-view --arn ${arn}"; `}once it is HEALTHY, ${AGAIN}`,
    },
  );
}

/** Whether Organizations refuses the token of a page, by the reasons of its API model. */
function isTokenRefusal(cause: Error): boolean {
  return (
    'Reason' in cause &&
    (cause.Reason === 'INVALID_PAGINATION_TOKEN' || cause.Reason === 'INVALID_NEXT_TOKEN')
  );
}

function refusedToken(details: ErrorDetails): RefusedTokenError {
  return new RefusedTokenError('AWS no longer honours the continuation token', {
    ...details,
    next: AGAIN,
  });
}
