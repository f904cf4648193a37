import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import type { Month } from '../pipeline/month.js';
import { plainScope } from '../pipeline/scope.js';
import { listAccounts } from './accounts.js';
import { costAndUsage } from './cost-and-usage.js';
import type { OrganizationAccess } from './organizations.js';
import { costQuery } from '../pipeline/staging/manifest.js';
import type { SessionOptions } from './session.js';
import { openSession } from './session.js';

/** One request for each right that an extraction needs; each throws a PipelineError that says what is missing. */
export interface AccessProbe {
  /** Assumes the role or, where there is none, asks whose the credentials are. @returns the ARN. */
  prove(signal: AbortSignal): Promise<string>;
  /** One page of ListAccounts, which is free. */
  listAccounts(signal: AbortSignal): Promise<void>;
  /** One page of GetCostAndUsage, which AWS charges $0.01 for. */
  askCost(month: Month, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** Prepares the probe; nothing is contacted before the first call. */
export function probeAccess(access: OrganizationAccess, options: SessionOptions): AccessProbe {
  const session = openSession(access, options);
  return {
    async prove(signal) {
      const { role } = access;
      // The session assumes the role before every request, so that one that sends nothing proves it.
      if (role !== undefined) {
        await session.call({ operation: 'AssumeRole' }, signal, () => Promise.resolve());
        return role.arn;
      }
      const call = { operation: 'GetCallerIdentity' } as const;
      const { Arn } = await session.call(call, signal, ({ sts }, options) =>
        sts.send(new GetCallerIdentityCommand(), options),
      );
      return Arn ?? 'unknown';
    },
    async listAccounts(signal) {
      await listAccounts(session, signal).next();
    },
    async askCost(month, signal) {
      const { billingViewArn = null } = access;
      const scope = { ...plainScope, billingViewArn };
      const question = { month, scope, query: costQuery };
      await costAndUsage(session, question, [], signal, () => undefined).next();
    },
    close: () => {
      session.close();
    },
  };
}
