import type { ErrorDetails, PipelineError } from '../pipeline/errors.js';
import { ConfigurationError, TransientError } from '../pipeline/errors.js';
import type { FailedCall } from './aws-call.js';
import { AGAIN, nameOf, quote } from './aws-call.js';
import { credentialsOf, renewalOf } from './wording.js';

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
