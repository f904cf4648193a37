import type { ErrorClass } from '../pipeline/shared/errors.js';
import {
  ConfigurationError,
  InterruptedError,
  PipelineError,
  TransientError,
  fill,
} from '../pipeline/shared/errors.js';
import { codeOf } from '../pipeline/shared/files.js';
import type { Month } from '../pipeline/shared/month.js';
import { PROXY_LOGIN, proxyLogin } from '../pipeline/shared/network.js';
import { said } from '../pipeline/shared/printable.js';
import { EndlessAnswerError } from '../pipeline/shared/waits.js';
import type { Refusal } from '../pipeline/staging/manifest.js';
import type { OrganizationAccess } from './organizations.js';

/** A request to AWS, as errors name it. */
export interface Call {
  /** `credentials`: what the SDK does to find them, which may be no request at all. */
  operation:
    | 'credentials'
    | 'AssumeRole'
    | 'GetCallerIdentity'
    | 'ListAccounts'
    | 'GetCostAndUsage'
    | 'ListInvoiceSummaries'
    | 'GetInvoicePDF';
  month?: Month;
  /** Whether it asks for a page after the first. */
  continued?: boolean;
  /** Which of the organization's two billing views is asked; without, that of the bill. */
  view?: 'costViewArn' | undefined;
}

/** The request that failed. */
interface FailedCall extends Call {
  access: OrganizationAccess;
  where: string;
  /** The time limit of one try, in milliseconds. */
  timeout: number;
}

/** AWS no longer honours a continuation token: the query has to begin at its first page. */
export class RefusedTokenError extends TransientError {
  // Nobody outside tells it from others of its kind.
  override readonly name = 'TransientError';
}

/** The next step after trouble that passes. */
export const AGAIN = 'run the same command again: it goes on from what is staged';

/**
 * What a failed request means for people: the class says whether a rerun may help, the text names
 * the organization, the operation and the remedy. An error that is not AWS's comes back unchanged.
 */
export function awsError(cause: unknown, call: FailedCall, signal?: AbortSignal): unknown {
  if (signal?.aborted === true) return new InterruptedError();
  if (cause instanceof PipelineError || !(cause instanceof Error)) return cause;
  const { where } = call;
  const status = metadataOf(cause).httpStatusCode;
  if (status === PROXY_LOGIN) return proxyLogin(where);
  const keys = [cause.name, codeOf(cause) ?? '', String(status ?? '')];
  const row = meanings.find(
    ({ pattern, when }) => keys.some((key) => pattern.test(key)) && when?.(call, cause) !== false,
  );
  const facts = factsOf(cause, call);
  if (row !== undefined) {
    const details = { where, next: fill(row.next, facts), ...(row.isQuoted ? { cause } : {}) };
    return new row.kind(fill(row.message, facts), details);
  }
  if (!('$fault' in cause)) return cause;
  return new ConfigurationError(`AWS refused the request: ${facts.words}`, { where, cause });
}

/** Whether AWS refused the request because the credentials that signed it have run out. */
export function isExpiredSession(cause: unknown): boolean {
  return cause instanceof Error && EXPIRED.test(cause.name);
}

/**
 * What AWS's refusal of a part means for the extraction, which goes on without it; `undefined` where the failure is
 * another one, and fails the stage. Trouble that passes never is a refusal, nor are AWS's words of a signature.
 * @param part the dimension or the like, as the manifest names it.
 * @param error of {@link awsError}.
 * @param codes AWS's error codes that say that this part cannot be had.
 */
export function refusalOf(part: string, error: unknown, codes: RegExp): Refusal | undefined {
  if (!(error instanceof ConfigurationError) || !(error.cause instanceof Error)) return undefined;
  const { name, message } = error.cause;
  return codes.test(name) ? { part, error: said(name), message: said(message) } : undefined;
}

/** The credentials that an organization begins with, as people know them. Nothing here repeats a secret. */
export function credentialsOf({ credentials }: OrganizationAccess): string {
  if (credentials.kind === 'keys') return 'the access key';
  return credentials.profile === undefined
    ? 'the default AWS credentials'
    : `the AWS profile ${credentials.profile}`;
}

interface Row {
  /** Of AWS's error code (or the SDK's own error's name), Node's code, or the HTTP status. */
  pattern: RegExp;
  kind: ErrorClass;
  /** `{who}` and its like stand for what {@link factsOf} tells. */
  message: string;
  next: string;
  /** What has to hold beside. */
  when: ((call: FailedCall, cause: Error) => boolean) | undefined;
  /** Whether AWS's own error is kept: one may repeat what is secret. */
  isQuoted: boolean;
}

const rowOf =
  (kind: ErrorClass, isQuoted = true) =>
  (pattern: RegExp, message: string, next: string, when?: Row['when']): Row => {
    return { pattern, kind, message, next, when, isQuoted };
  };
const wrong = rowOf(ConfigurationError);
const unquoted = rowOf(ConfigurationError, false);
const passing = rowOf(TransientError);
const restart = rowOf(RefusedTokenError);

const says =
  (pattern: RegExp): Row['when'] =>
  (_, { message }) =>
    pattern.test(message);
const asking =
  (operation: Call['operation']): Row['when'] =>
  (call) =>
    call.operation === operation;
const withKey: Row['when'] = ({ access }) => access.credentials.kind === 'keys';
const viewOf = ({ access, view }: Pick<FailedCall, 'access' | 'view'>): string | undefined =>
  access[view ?? 'billingViewArn'];
const withView: Row['when'] = (call) => viewOf(call) !== undefined;

/** What the SDK's credential providers throw, before AWS was asked for anything else: the message tells all. */
const PROVIDER = /^(CredentialsProvider|TokenProvider|Provider)Error$/;
const SIGNATURE = /^(SignatureDoesNotMatch|InvalidSignatureException|IncompleteSignature)$/;
const UNKNOWN_KEY = /^(InvalidClientTokenId|UnrecognizedClientException)$/;
const EXPIRED = /^ExpiredToken(Exception)?$/;
const DENIED = /^AccessDenied(Exception)?$/;

/** How far back Cost Explorer goes (AWS Cost Management user guide). */
const HISTORY =
  'it keeps the current month and the 13 before it, or 38 with multi-year data switched on';
const LOST_TOKEN = 'AWS no longer honours the continuation token';

/** What failures mean and what to do; the first row that fits counts. */
const meanings: readonly Row[] = [
  wrong(
    PROVIDER,
    'no AWS credentials were found',
    'run "aws configure" or "aws sso login", set AWS_PROFILE, or name the profile of {organization} under "organizations" in the configuration file',
    says(/could not load credentials from any providers/i),
  ),
  wrong(
    PROVIDER,
    '{who} is not there, or holds no credentials',
    'see "aws configure list-profiles", and make it with "aws configure sso{profileFlag}" or "aws configure{profileFlag}"',
    says(/could not resolve credentials using profile/i),
  ),
  wrong(
    PROVIDER,
    '{who} asks for a multi-factor code, which an unattended run cannot give',
    'name a profile without mfa_serial, or one whose credentials a login keeps fresh (aws sso login)',
    says(/multi-factor authentication/i),
  ),
  // The command line and what the process printed may hold anything, so that neither is repeated.
  unquoted(
    PROVIDER,
    'the credential_process of {who} failed',
    'run its command by hand to see why',
    says(/^Command failed/),
  ),
  passing(
    PROVIDER,
    '{who} could not be asked for credentials: {words}',
    `check the network, then ${AGAIN}`,
    says(/ECONN|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|timeout/i),
  ),
  wrong(
    PROVIDER,
    'the login of {who} has expired or is missing',
    '{renewal}',
    says(/\bsso\b|token (is|has) expired|session token|unauthorized/i),
  ),
  wrong(PROVIDER, '{who} could not be used: {words}', 'check the shared AWS files'),

  // Without AWS's words: to a wrong signature they may repeat the signed headers, and the session's token with them.
  unquoted(
    SIGNATURE,
    'AWS refused the signature because of its time',
    "set this machine's clock",
    says(/expired|not yet current/i),
  ),
  unquoted(
    SIGNATURE,
    'AWS refused the signature of {who}',
    'check aws_{organization}_secret_access_key in the Vault secret',
    withKey,
  ),
  unquoted(SIGNATURE, 'AWS refused the signature of {who}', 'check the secret access key'),
  wrong(
    UNKNOWN_KEY,
    'AWS does not know the access key',
    'check aws_{organization}_access_key_id in the Vault secret: the key may be deleted or inactive{orRegion}',
    withKey,
  ),
  wrong(
    UNKNOWN_KEY,
    'AWS does not know the access key of {who}',
    'check it: the key may be deleted or inactive{orRegion}',
  ),
  // The role's own session can only be too old by a wrong clock: it has just been renewed.
  passing(
    EXPIRED,
    "AWS calls the role's session expired right after it was assumed",
    `check this machine's clock, then ${AGAIN}`,
    ({ access, operation }) =>
      access.role !== undefined && !['credentials', 'AssumeRole'].includes(operation),
  ),
  wrong(EXPIRED, '{who} has expired', '{renewal}', withKey),
  wrong(EXPIRED, 'the login of {who} has expired', '{renewal}'),

  wrong(
    DENIED,
    '{who} may not assume its own role: {words}',
    'check role_arn, source_profile and external_id in the shared AWS files',
    asking('credentials'),
  ),
  wrong(
    DENIED,
    '{who} may not assume {asker}: {words}',
    "let the role's trust policy name {trusted} sts:AssumeRole on the role; {externalIdHint}",
    asking('AssumeRole'),
  ),
  wrong(
    DENIED,
    '{asker} may not ask who it is: {words}',
    'no policy may deny sts:GetCallerIdentity',
    asking('GetCallerIdentity'),
  ),
  wrong(
    DENIED,
    '{asker} may not list the accounts: {words}',
    "allow {grantee} organizations:ListAccounts{orRole}; it must belong to the organization's management account or to a delegated administrator; or set {listAccounts} to false, and Cost Explorer tells the accounts that have cost",
    asking('ListAccounts'),
  ),
  wrong(
    DENIED,
    '{asker} may not list the invoices: {words}',
    'allow {grantee} invoicing:ListInvoiceSummaries{orRole}, or do without --invoices',
    asking('ListInvoiceSummaries'),
  ),
  wrong(
    DENIED,
    '{asker} may not fetch the invoice as PDF: {words}',
    'allow {grantee} invoicing:GetInvoicePDF{orRole}',
    asking('GetInvoicePDF'),
  ),
  wrong(
    /^ResourceNotFoundException$/,
    'AWS has no document of the invoice: {words}',
    'see the invoice in the Billing console',
    asking('GetInvoicePDF'),
  ),
  wrong(
    DENIED,
    '{asker} may not ask Cost Explorer: {words}',
    'allow {grantee} ce:GetCostAndUsage{andView}{orRole}; Cost Explorer and IAM access to billing must be switched on in the account',
  ),

  wrong(
    /^RegionDisabledException$/,
    'STS is not switched on in {region}',
    'switch it on in the account settings of IAM, or change {regionSetting}',
  ),
  wrong(
    /^AWSOrganizationsNotInUseException$/,
    'the account of {asker} belongs to no organization',
    "let {roleArn} name a role of the organization's management account, or set {listAccounts} to false",
  ),
  restart(/^(InvalidNextTokenException|RequestChangedException)$/, LOST_TOKEN, AGAIN),
  passing(
    /^DataUnavailableException$/,
    'Cost Explorer has no data for the month yet',
    'try again later; after Cost Explorer is first switched on it takes about a day',
  ),
  // What it costs stands beside the bill, which does not wait for it.
  wrong(
    /^BillingViewHealthStatusException$/,
    'the cost view {view} is not healthy, so Cost Explorer does not serve it',
    'see its status and reason with "aws billing get-billing-view --arn {view}", and check {viewSetting}',
    ({ view }) => view === 'costViewArn',
  ),
  // A view that is made or changed now is healthy again by itself; one whose source has gone or is shared no
  // more is not, so that people have to look at it.
  passing(
    /^BillingViewHealthStatusException$/,
    'the billing view {view} is not healthy, so Cost Explorer does not serve it',
    `see its status and reason with "aws billing get-billing-view --arn {view}" ({viewSetting}); once it is HEALTHY, ${AGAIN}`,
    withView,
  ),
  passing(
    /^BillingViewHealthStatusException$/,
    "the organization's own billing view is not healthy, so Cost Explorer does not serve it",
    `once it is HEALTHY, ${AGAIN}`,
  ),
  wrong(
    /^ResourceNotFoundException$/,
    'Cost Explorer does not serve the billing view {view}: {words}',
    'check {viewSetting}',
    withView,
  ),
  // Between two pages it is the answer begun that has gone, not yet the month.
  restart(/^BillExpirationException$/, LOST_TOKEN, AGAIN, ({ continued }) => continued === true),
  wrong(/^BillExpirationException$/, 'Cost Explorer no longer has the month: {words}', HISTORY),
  passing(
    /^InvalidInputException$/,
    `${LOST_TOKEN} of the accounts`,
    AGAIN,
    // By the reasons of its API model.
    ({ operation }, cause) =>
      operation === 'ListAccounts' &&
      'Reason' in cause &&
      ['INVALID_PAGINATION_TOKEN', 'INVALID_NEXT_TOKEN'].includes(String(cause.Reason)),
  ),
  restart(
    /^ValidationException$/,
    LOST_TOKEN,
    AGAIN,
    // Only of a request with a token: a cost category may be called so too.
    ({ operation, continued }, { message }) =>
      operation === 'GetCostAndUsage' && continued === true && /token/i.test(message),
  ),
  restart(
    /^ValidationException$/,
    LOST_TOKEN,
    AGAIN,
    // By the reasons of its API model, or its words where it gives none.
    ({ operation, continued }, cause) =>
      operation === 'ListInvoiceSummaries' &&
      continued === true &&
      (('reason' in cause &&
        ['expiredNextToken', 'invalidNextToken'].includes(String(cause.reason))) ||
        /token/i.test(cause.message)),
  ),
  wrong(
    /^ValidationException$/,
    'Cost Explorer refuses the month: {words}',
    HISTORY,
    asking('GetCostAndUsage'),
  ),

  passing(
    /^EndlessAnswerError$/,
    'AWS answered without an end: {reason}',
    `check the network's proxy and any AWS_ENDPOINT_URL, then ${AGAIN}; --timeout SECONDS allows more`,
  ),
  passing(
    /^(429|LimitExceededException|TooManyRequestsException|Throttling(Exception)?|RequestLimitExceeded)$/,
    'AWS still throttles the request{tries}',
    `wait a minute, then ${AGAIN}; a lower --concurrency or a higher AWS_MAX_ATTEMPTS helps`,
  ),
  passing(/^(TimeoutError|ETIMEDOUT)$/, 'AWS gave no answer within {timeout} s{tries}', AGAIN),
  passing(
    /^(ECONNREFUSED|ECONNRESET|EPIPE|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/,
    'AWS could not be reached ({code}){tries}',
    `check the network and any AWS_ENDPOINT_URL, then ${AGAIN}`,
  ),
  passing(
    /^[A-Z_]*(CERT|TLS|SSL|SELF_SIGNED|VERIFY)/,
    'the certificate of AWS was not accepted ({code})',
    `let AWS_CA_BUNDLE or NODE_EXTRA_CA_CERTS name the authority of the network's proxy, then ${AGAIN}`,
  ),
  wrong(
    /^ERR_INVALID_CHAR$/,
    'the AWS credentials hold a character that no header can carry',
    'check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the shared AWS files for line breaks',
  ),
  wrong(
    /^ERR_INVALID_URL$/,
    'an address of AWS cannot be read',
    'check AWS_ENDPOINT_URL, its likes for one service, and endpoint_url in the shared AWS files',
  ),
  passing(/^[5-9]\d\d$/, 'AWS failed with status {status}{tries}: {words}', AGAIN),
  passing(/^(SyntaxError|[0-3]\d*)$/, "AWS's answer could not be read: {words}", AGAIN),
];

/** What the rows' texts name: of the failure, and of the organization's access. */
function factsOf(cause: Error, call: FailedCall) {
  const { access, timeout } = call;
  const { name: organization, region, credentials, role } = access;
  const view = viewOf(call);
  const { httpStatusCode: status, attempts = 0 } = metadataOf(cause);
  const [text, name] = [said(cause.message), said(cause.name)];
  const isKey = credentials.kind === 'keys';
  const profile = isKey ? undefined : credentials.profile;
  const setting = (part: string): string =>
    isKey
      ? `aws_${part === 'region' ? 'region_name' : `${organization}_${part}`} in the Vault secret`
      : `${part} of ${organization} under "organizations" in the configuration file`;
  const regionSetting = setting('region');
  return {
    /** AWS's own words, with the error's name. */
    words: text === '' ? name : `${text} (${name})`,
    code: codeOf(cause) ?? '',
    status: String(status ?? ''),
    reason: cause instanceof EndlessAnswerError ? cause.reason : '',
    tries: attempts > 1 ? ` after ${attempts} tries` : '',
    timeout: String(timeout / 1000),
    organization,
    who: credentialsOf(access),
    /** Who asks Organizations and Cost Explorer: the role, or else the credentials themselves. */
    asker: role?.arn ?? credentialsOf(access),
    /** Whom a right has to be given to. */
    grantee:
      role !== undefined
        ? 'the role'
        : isKey
          ? `the user of aws_${organization}_access_key_id`
          : profile === undefined
            ? 'the user or role of these credentials'
            : "the profile's user or role",
    trusted: isKey
      ? "the key's user, and allow that user"
      : 'whom they belong to, and allow that user or role',
    renewal: isKey
      ? `put keys that do not expire into aws_${organization}_access_key_id and aws_${organization}_secret_access_key in the Vault secret`
      : profile === undefined
        ? 'renew them, for example with "aws sso login" or a fresh AWS_SESSION_TOKEN, then run the same command again'
        : `run "aws sso login --profile ${profile}", or renew them where they come from, then run the same command again`,
    profileFlag: profile === undefined ? '' : ` --profile ${profile}`,
    externalIdHint:
      role?.externalId === undefined
        ? `if that policy asks for an external id, set ${setting('externalId')}`
        : `the policy may ask for another external id than ${setting('externalId')}`,
    // Credentials that ask for themselves are often meant to take a role that nobody has named.
    orRole: role === undefined ? `, or set ${setting('roleArn')}` : '',
    orRegion: cause.name === 'InvalidClientTokenId' ? regionHint(region, regionSetting) : '',
    view: view ?? '',
    andView: view === undefined ? '' : `, and billing:GetBillingViewData on ${view}`,
    region,
    regionSetting,
    roleArn: setting('roleArn'),
    listAccounts: setting('listAccounts'),
    viewSetting: setting(call.view ?? 'billingViewArn'),
  };
}

/**
 * STS gives the same answer to every key in a region that an account has not opted into (AWS Account
 * Management reference guide, "Enable or disable AWS Regions in your account"); us-east-1 cannot be disabled.
 */
function regionHint(region: string, setting: string): string {
  // Only the commercial partition has regions to opt into, and that region; no partition knows another's keys.
  if (region === 'us-east-1' || region === 'aws-global') return '';
  if (/^(?:cn|eusc|us-iso[a-z]*|eu-iso[a-z]*|aws-[a-z-]+)-/.test(region))
    return `, or of another partition than the region ${region} (${setting})`;
  return `, or the region ${region} is not enabled for this account; use us-east-1 (${setting})`;
}

/** What the SDK tells of the answers to a request. */
function metadataOf(cause: Error): { httpStatusCode?: number; attempts?: number } {
  return '$metadata' in cause && typeof cause.$metadata === 'object' ? (cause.$metadata ?? {}) : {};
}
