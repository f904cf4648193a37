import type { Month } from '../pipeline/month.js';
import { plainScope } from '../pipeline/scope.js';
import { listAccounts } from './accounts.js';
import { costAndUsage } from './cost-and-usage.js';
import type { OrganizationAccess } from './organizations.js';
import { costQuery } from './queries.js';
import type { SessionOptions } from './session.js';
import { openSession } from './session.js';

/** One request for each right that an extraction needs; each throws a PipelineError that says what is missing. */
export interface AccessProbe {
  assumeRole(signal: AbortSignal): Promise<void>;
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
    // The session assumes the role before every request, so that one that sends nothing proves it.
    assumeRole: (signal) =>
      session.call({ operation: 'AssumeRole' }, signal, () => Promise.resolve()),
    async listAccounts(signal) {
      await listAccounts(session, signal).next();
    },
    async askCost(month, signal) {
      const question = { month, scope: plainScope, query: costQuery };
      await costAndUsage(session, question, [], signal, () => undefined).next();
    },
    close: () => {
      session.close();
    },
  };
}
