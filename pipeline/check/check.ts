import type { OrganizationAccess } from '../../extract/organizations.js';
import type { Checklist } from './check-lines.js';
import type { Config } from '../config.js';
import type { Log } from '../log.js';
import type { Month } from '../month.js';
import { openSecrets } from '../secrets.js';

export interface CheckRequest {
  config: Config;
  /** `undefined`: all. */
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
    const { findAccesses } = await import('./find-accesses.js');
    for (const access of await findAccesses(config, request.organizations, secrets, list))
      await checkAccess(request, access, list);
    const { checkStaging } = await import('./check-staging.js');
    await checkStaging(config, request.signal, list);
    const { checkDatabase } = await import('./check-database.js');
    const { log, signal } = request;
    await checkDatabase(config, secrets, { log, signal, timeoutMs: config.timeoutMs }, list);
  } finally {
    await secrets.close();
  }
}

async function checkAccess(
  { config, paidMonth, log, signal }: CheckRequest,
  access: OrganizationAccess,
  list: Checklist,
): Promise<void> {
  const { probeAccess } = await import('../../extract/access.js');
  const { credentialsOf } = await import('../../extract/wording.js');
  const probe = probeAccess(access, { log, timeoutMs: config.timeoutMs });
  const proof = `${access.name}: ${access.role === undefined ? 'credentials' : 'AssumeRole'}`;
  const accounts = `${access.name}: ListAccounts`;
  const cost = `${access.name}: Cost Explorer`;
  try {
    const proven = await list.step(proof, async () => {
      const arn = await probe.prove(signal);
      const way = credentialsOf(access);
      return {
        found: true,
        text: access.role === undefined ? `${way}: ${arn}` : `${arn}, by ${way}`,
      };
    });
    if (proven === undefined) {
      const why =
        access.role === undefined ? 'there are no credentials' : 'the role cannot be assumed';
      list.skip(accounts, why);
      list.skip(cost, why);
      return;
    }
    if (access.listAccounts)
      await list.step(accounts, async () => {
        await probe.listAccounts(signal);
        return { found: true, text: 'allowed' };
      });
    else list.skip(accounts, "listAccounts is false: Cost Explorer's own names have to do");
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
