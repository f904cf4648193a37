import type { ErrorDetails } from '../pipeline/shared/errors.js';
import {
  ConfigurationError,
  InterruptedError,
  PipelineError,
  TransientError,
} from '../pipeline/shared/errors.js';
import type { Month } from '../pipeline/shared/month.js';
import { PROXY_LOGIN, proxyLogin } from '../pipeline/shared/network.js';
import { said } from '../pipeline/shared/printable.js';
import { EndlessAnswerError } from '../pipeline/shared/waits.js';
import type { OrganizationAccess } from './organizations.js';

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

/** How errors and `check` speak of an organization's access. Nothing here repeats a secret. */

/** The credentials that an organization begins with. */
export function credentialsOf({ credentials }: OrganizationAccess): string {
  if (credentials.kind === 'keys') return 'the access key';
  return credentials.profile === undefined
    ? 'the default AWS credentials'
    : `the AWS profile ${credentials.profile}`;
}

/** Who asks Organizations and Cost Explorer: the role, or else the credentials themselves. */
export function askerOf(access: OrganizationAccess): string {
  return access.role?.arn ?? credentialsOf(access);
}

/** Whom a right has to be given to. */
export function granteeOf({ name, credentials, role }: OrganizationAccess): string {
  if (role !== undefined) return 'the role';
  if (credentials.kind === 'keys') return `the user of aws_${name}_access_key_id`;
  return credentials.profile === undefined
    ? 'the user or role of these credentials'
    : "the profile's user or role";
}

/** Where a value of the access is set. */
export function settingOf(
  { name, credentials }: OrganizationAccess,
  part: 'roleArn' | 'externalId' | 'billingViewArn' | 'listAccounts' | 'region',
): string {
  if (credentials.kind === 'chain')
    return `${part} of ${name} under "organizations" in the configuration file`;
  return `${part === 'region' ? 'aws_region_name' : `aws_${name}_${part}`} in the Vault secret`;
}

/** How credentials that have run out are renewed. */
export function renewalOf({ name, credentials }: OrganizationAccess): string {
  if (credentials.kind === 'keys')
    return `put keys that do not expire into aws_${name}_access_key_id and aws_${name}_secret_access_key in the Vault secret`;
  return credentials.profile === undefined
    ? 'renew them, for example with "aws sso login" or a fresh AWS_SESSION_TOKEN, then run the same command again'
    : `run "aws sso login --profile ${credentials.profile}", or renew them where they come from, then run the same command again`;
}

/** What the SDK's credential providers throw; all that they tell apart stands in the message. */
const providers = new Set(['CredentialsProviderError', 'TokenProviderError', 'ProviderError']);

/** Credentials that the SDK could not get, before AWS was asked for anything else; `undefined` for any other failure. */
export function credentialTrouble(
  cause: Error,
  { access }: FailedCall,
  details: ErrorDetails,
): PipelineError | undefined {
  if (!providers.has(nameOf(cause))) return undefined;
  const { message } = cause;
  const who = credentialsOf(access);
  const profile = access.credentials.kind === 'chain' ? access.credentials.profile : undefined;
  const wrong = (text: string, next: string): PipelineError =>
    new ConfigurationError(text, { ...details, next });

  if (/could not load credentials from any providers/i.test(message)) {
    return wrong(
      'no AWS credentials were found',
      `run "aws configure" or "aws sso login", set AWS_PROFILE, or name the profile of ${access.name} under "organizations" in the configuration file`,
    );
  }
  if (/could not resolve credentials using profile/i.test(message)) {
    return wrong(
      `${who} is not there, or holds no credentials`,
      `see "aws configure list-profiles", and make it with "aws configure sso${flag(profile)}" or "aws configure${flag(profile)}"`,
    );
  }
  if (/multi-factor authentication/i.test(message)) {
    return wrong(
      `${who} asks for a multi-factor code, which an unattended run cannot give`,
      'name a profile without mfa_serial, or one whose credentials a login keeps fresh (aws sso login)',
    );
  }
  // The command line and what the process printed may hold anything, so that neither is repeated.
  if (message.startsWith('Command failed')) {
    return new ConfigurationError(`the credential_process of ${who} failed`, {
      ...(details.where === undefined ? {} : { where: details.where }),
      next: 'run its command by hand to see why',
    });
  }
  if (/ECONN|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|timeout/i.test(message)) {
    return new TransientError(`${who} could not be asked for credentials: ${quote(cause)}`, {
      ...details,
      next: `check the network, then ${AGAIN}`,
    });
  }
  if (/\bsso\b|token (is|has) expired|session token|unauthorized/i.test(message))
    return wrong(`the login of ${who} has expired or is missing`, renewalOf(access));
  return wrong(`${who} could not be used: ${quote(cause)}`, 'check the shared AWS files');
}

function flag(profile: string | undefined): string {
  return profile === undefined ? '' : ` --profile ${profile}`;
}

/** A request that AWS denied, with the right that is missing and who needs it. */
export function denied(cause: Error, call: FailedCall, details: ErrorDetails): PipelineError {
  const { access, operation } = call;
  const asker = askerOf(access);
  const refused = (text: string, next: string): PipelineError =>
    new ConfigurationError(`${text}: ${quote(cause)}`, { ...details, next });
  switch (operation) {
    case 'credentials':
      return refused(
        `${credentialsOf(access)} may not assume its own role`,
        'check role_arn, source_profile and external_id in the shared AWS files',
      );
    case 'AssumeRole':
      return refused(
        `${credentialsOf(access)} may not assume ${asker}`,
        `let the role's trust policy name ${access.credentials.kind === 'keys' ? "the key's user, and allow that user" : 'whom they belong to, and allow that user or role'} sts:AssumeRole on the role; ${externalIdHint(access)}`,
      );
    case 'GetCallerIdentity':
      return refused(`${asker} may not ask who it is`, 'no policy may deny sts:GetCallerIdentity');
    case 'ListAccounts':
      return refused(
        `${asker} may not list the accounts`,
        `allow ${granteeOf(access)} organizations:ListAccounts${orRole(access)}; it must belong to the organization's management account or to a delegated administrator; or set ${settingOf(access, 'listAccounts')} to false, and Cost Explorer tells the accounts that have cost`,
      );
    case 'GetCostAndUsage':
      return refused(
        `${asker} may not ask Cost Explorer`,
        `allow ${granteeOf(access)} ce:GetCostAndUsage${access.billingViewArn === undefined ? '' : `, and billing:GetBillingViewData on ${access.billingViewArn}`}${orRole(access)}; Cost Explorer and IAM access to billing must be switched on in the account`,
      );
  }
}

function externalIdHint(access: FailedCall['access']): string {
  const setting = settingOf(access, 'externalId');
  return access.role?.externalId === undefined
    ? `if that policy asks for an external id, set ${setting}`
    : `the policy may ask for another external id than ${setting}`;
}

/** Credentials that ask for themselves are often meant to take a role that nobody has named. */
function orRole(access: FailedCall['access']): string {
  return access.role === undefined ? `, or set ${settingOf(access, 'roleArn')}` : '';
}

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
