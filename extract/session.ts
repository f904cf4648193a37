import { CostExplorerClient } from '@aws-sdk/client-cost-explorer';
import { OrganizationsClient } from '@aws-sdk/client-organizations';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { z } from 'zod';
import { throwIfInterrupted, TransientError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Call } from './aws-errors.js';
import { awsError, isExpiredSession } from './aws-errors.js';
import type { OrganizationAccess } from './organizations.js';

/** How long a request may stay without an answer, in milliseconds. */
const TIMEOUT = 60_000;
/** Credentials are renewed this long before they expire: the SDK's own margin, in milliseconds. */
const MARGIN = 300_000;
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

const assumed = z.object({
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  SessionToken: z.string().min(1),
  Expiration: z.date(),
});

interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  expiration: Date;
}

/**
 * The Region that Organizations and Cost Explorer are signed for, one in each partition, whatever
 * Region the secret names (AWS General Reference, endpoints of AWS Organizations and of Cost Explorer).
 */
export function globalRegion(region: string): string {
  return region.startsWith('cn-') ? 'cn-northwest-1' : 'us-east-1';
}

/** Prepares the session; nothing is contacted before the first call. */
export function openSession(
  access: OrganizationAccess,
  { log, timeoutMs: timeout = TIMEOUT }: { log: Log; timeoutMs?: number | undefined },
): Session {
  const { accessKeyId, secretAccessKey, roleArn, roleSessionName } = access;
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
  let held: { promise: Promise<Credentials>; renewAt: number } | undefined;

  const describe = ({ operation, month }: Call): string =>
    `${operation}, organization ${access.name}${month === undefined ? '' : `, ${month}`}`;
  const explain = (cause: unknown, call: Call, signal?: AbortSignal): unknown =>
    awsError(cause, { ...call, access, where: describe(call), timeout }, signal);

  async function assume(signal?: AbortSignal): Promise<Credentials> {
    const call: Call = { operation: 'AssumeRole' };
    try {
      const { Credentials } = await sts.send(
        new AssumeRoleCommand({ RoleArn: roleArn, RoleSessionName: roleSessionName }),
        signal === undefined ? {} : { abortSignal: signal },
      );
      const found = assumed.safeParse(Credentials);
      if (!found.success) {
        throw new TransientError('AWS answered without credentials', {
          where: describe(call),
          next: 'run the same command again',
        });
      }
      const expiration = found.data.Expiration;
      log.debug({ roleArn, expiration }, 'role assumed');
      return {
        accessKeyId: found.data.AccessKeyId,
        secretAccessKey: found.data.SecretAccessKey,
        sessionToken: found.data.SessionToken,
        expiration,
      };
    } catch (cause) {
      throw explain(cause, call, signal);
    }
  }

  /** The credentials in force: callers at the same time share one AssumeRole, and a failed one is forgotten. */
  function credentials(signal?: AbortSignal): Promise<Credentials> {
    if (held !== undefined && Date.now() < held.renewAt) return held.promise;
    const attempt = { promise: assume(signal), renewAt: Infinity };
    held = attempt;
    attempt.promise.then(
      ({ expiration }) => {
        const lifetime = expiration.getTime() - Date.now();
        attempt.renewAt = Date.now() + lifetime - Math.min(MARGIN, lifetime / 2);
      },
      () => {
        if (held === attempt) held = undefined;
      },
    );
    return attempt.promise;
  }

  const signed = {
    ...settings,
    region: globalRegion(access.region),
    credentials: () => credentials(),
  };
  const clients: Clients = {
    organizations: new OrganizationsClient(signed),
    costExplorer: new CostExplorerClient(signed),
  };

  return {
    describe,

    async call(call, signal, send) {
      throwIfInterrupted(signal);
      await credentials(signal);
      const used = held;
      const options = { abortSignal: signal };
      try {
        return await send(clients, options);
      } catch (cause) {
        if (!isExpiredSession(cause)) throw explain(cause, call, signal);
      }
      log.info({ operation: call.operation }, 'the session has expired: assuming the role anew');
      if (held === used) held = undefined;
      try {
        await credentials(signal);
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
    },

    close() {
      for (const client of [sts, clients.organizations, clients.costExplorer]) client.destroy();
    },
  };
}
