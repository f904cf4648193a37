import type { ErrorDetails, PipelineError } from '../pipeline/errors.js';
import { ConfigurationError } from '../pipeline/errors.js';
import type { FailedCall } from './aws-call.js';
import { quote } from './aws-call.js';
import { askerOf, credentialsOf, granteeOf, settingOf } from './wording.js';

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
