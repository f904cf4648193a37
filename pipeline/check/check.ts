import type { OrganizationAccess } from '../../extract/organizations.js';
import type { Checklist } from './check-lines.js';
import type { Config } from '../config.js';
import { ConfigurationError, describeError } from '../errors.js';
import type { Log } from '../log.js';
import type { Month } from '../month.js';
import { openSecrets } from '../secrets.js';
import type { Secrets } from '../secrets.js';

export interface CheckRequest {
  config: Config;
  /** `undefined`: all of the secret. */
  organizations: readonly string[] | undefined;
  /** The month that Cost Explorer is asked for, at $0.01 an organization; `undefined`: it is not asked. */
  paidMonth: Month | undefined;
  log: Log;
  signal: AbortSignal;
}

/** Looks at everything that a run needs, each once, and stops at nothing that fails. */
export async function check(request: CheckRequest, list: Checklist): Promise<void> {
  const { config } = request;
  const secrets = openSecrets(config, request);
  try {
    await checkOrganizations(request, secrets, list);
    const { checkStaging } = await import('./check-staging.js');
    await checkStaging(config, list);
    const { checkDatabase } = await import('./check-database.js');
    await checkDatabase(config, secrets, request.log, list);
  } finally {
    await secrets.close();
  }
}

async function checkOrganizations(
  request: CheckRequest,
  secrets: Secrets,
  list: Checklist,
): Promise<void> {
  const { vault } = request.config;
  if (vault === undefined) {
    list.skip('Vault login', 'its settings are incomplete');
    return;
  }
  const session = await list.step('Vault login', async () => ({
    found: await secrets.login(),
    text: vault.address,
  }));
  if (session === undefined || vault.awsSecretPath === undefined) {
    list.skip('AWS secret', 'there is no login to Vault, or no path');
    return;
  }
  const accesses: OrganizationAccess[] = [];
  await list.step('AWS secret', () => readSecret(request, secrets, accesses));
  for (const access of accesses) await checkAccess(request, access, list);
}

async function readSecret(
  { organizations }: CheckRequest,
  secrets: Secrets,
  accesses: OrganizationAccess[],
): Promise<{ found: true; text: string }> {
  const all = await secrets.organizations();
  const names = all.map(({ name }) => name).join(', ');
  const faults: string[] = (organizations ?? [])
    .filter((name) => !all.some((entry) => entry.name === name))
    .map((name) => `there is no organization ${name}; choose among ${names}`);
  for (const entry of all) {
    if (organizations?.includes(entry.name) === false) continue;
    if ('fault' in entry) faults.push(describeError(entry.fault));
    else accesses.push(entry.access);
  }
  if (faults.length > 0) throw new ConfigurationError(faults.join('; '));
  return { found: true, text: `${all.length} organizations: ${names}` };
}

async function checkAccess(
  { config, paidMonth, log, signal }: CheckRequest,
  access: OrganizationAccess,
  list: Checklist,
): Promise<void> {
  const { probeAccess } = await import('../../extract/access.js');
  const probe = probeAccess(access, { log, timeoutMs: config.timeoutMs });
  const [role, accounts, cost] = ['AssumeRole', 'ListAccounts', 'Cost Explorer'].map(
    (name) => `${access.name}: ${name}`,
  ) as [string, string, string];
  try {
    const assumed = await list.step(role, async () => {
      await probe.assumeRole(signal);
      return { found: true, text: access.roleArn };
    });
    if (assumed === undefined) {
      list.skip(accounts, 'the role cannot be assumed');
      list.skip(cost, 'the role cannot be assumed');
      return;
    }
    await list.step(accounts, async () => {
      await probe.listAccounts(signal);
      return { found: true, text: 'allowed' };
    });
    if (paidMonth === undefined) {
      list.skip(cost, 'costs $0.01; --paid asks');
      return;
    }
    await list.step(cost, async () => {
      await probe.askCost(paidMonth, signal);
      return { found: true, text: `answers for ${paidMonth} ($0.01)` };
    });
  } finally {
    probe.close();
  }
}
