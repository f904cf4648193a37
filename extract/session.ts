import { CostExplorerClient } from '@aws-sdk/client-cost-explorer';
import { OrganizationsClient } from '@aws-sdk/client-organizations';
import { STSClient } from '@aws-sdk/client-sts';
import { throwIfInterrupted } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Call } from './aws-call.js';
import { isExpiredSession } from './aws-call.js';
import { awsError } from './aws-errors.js';
import type { RequestBudget } from './budget.js';
import { requestBudget } from './budget.js';
import type { OrganizationAccess } from './organizations.js';
import { openRole } from './role.js';

/** How long a request may stay without an answer, in milliseconds. */
const TIMEOUT = 60_000;
/** Tries of one request when neither AWS_MAX_ATTEMPTS nor the caller says otherwise: Cost Explorer throttles early. */
const ATTEMPTS = 5;

interface Clients {
  organizations: OrganizationsClient;
  costExplorer: CostExplorerClient;
}

/** An organization's assumed role: assumed with the first request, renewed before it expires, one for all requests. */
export interface Session {
  /**
   * Sends one request with the role's credentials. When AWS says that the session has expired, the
   * role is assumed anew and the request sent once more.
   * @throws {PipelineError} that names the organization, the operation and the remedy.
   */
  call<T>(
    call: Call,
    signal: AbortSignal,
    send: (clients: Clients, options: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T>;
  /** The operation as errors name it. */
  describe(call: Call): string;
  close(): void;
}

/**
 * The Region that Organizations and Cost Explorer are signed for, one in each partition, whatever
 * Region the secret names (AWS General Reference, endpoints of AWS Organizations and of Cost Explorer).
 */
export function globalRegion(region: string): string {
  return region.startsWith('cn-') ? 'cn-northwest-1' : 'us-east-1';
}

export interface SessionOptions {
  log: Log;
  /** Time that a request may stay without an answer, in milliseconds. */
  timeoutMs?: number | undefined;
  /** Counts and bounds the requests to Cost Explorer, also those of other sessions. */
  budget?: RequestBudget | undefined;
}

/** Prepares the session; nothing is contacted before the first call. */
export function openSession(
  access: OrganizationAccess,
  { log, timeoutMs: timeout = TIMEOUT, budget = requestBudget() }: SessionOptions,
): Session {
  const { accessKeyId, secretAccessKey } = access;
  const settings = {
    ...(process.env['AWS_MAX_ATTEMPTS'] === undefined ? { maxAttempts: ATTEMPTS } : {}),
    requestHandler: {
      connectionTimeout: timeout,
      requestTimeout: timeout,
      socketTimeout: timeout,
      throwOnRequestTimeout: true,
    },
  };
  const sts = new STSClient({
    ...settings,
    region: access.region,
    credentials: { accessKeyId, secretAccessKey },
  });

  const describe = ({ operation, month }: Call): string =>
    `${operation}, organization ${access.name}${month === undefined ? '' : `, ${month}`}`;
  const explain = (cause: unknown, call: Call, signal?: AbortSignal): unknown =>
    awsError(cause, { ...call, access, where: describe(call), timeout }, signal);

  const role = openRole(sts, access, log, (cause, signal) =>
    explain(cause, { operation: 'AssumeRole' }, signal),
  );
  const signed = {
    ...settings,
    region: globalRegion(access.region),
    credentials: () => role.credentials(),
  };
  const clients: Clients = {
    organizations: new OrganizationsClient(signed),
    costExplorer: new CostExplorerClient(signed),
  };

  const request: Session['call'] = async (call, signal, send) => {
    throwIfInterrupted(signal);
    const used = await role.credentials(signal);
    const options = { abortSignal: signal };
    try {
      return await send(clients, options);
    } catch (cause) {
      if (!isExpiredSession(cause)) throw explain(cause, call, signal);
    }
    log.info(
      { organization: access.name, operation: call.operation },
      'the session has expired: assuming the role anew',
    );
    role.drop(used);
    try {
      await role.credentials(signal);
      // Each client remembers the credentials it was given, and lets go of them only when told to.
      await Promise.all(
        Object.values(clients).map((client: OrganizationsClient | CostExplorerClient) =>
          client.config.credentials({ forceRefresh: true }),
        ),
      );
      return await send(clients, options);
    } catch (cause) {
      throw explain(cause, call, signal);
    }
  };

  return {
    describe,

    call: (call, signal, send) =>
      call.operation === 'GetCostAndUsage'
        ? budget.spend(describe(call), () => request(call, signal, send))
        : request(call, signal, send),

    close() {
      for (const client of [sts, clients.organizations, clients.costExplorer]) client.destroy();
    },
  };
}
