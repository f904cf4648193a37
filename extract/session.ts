import { CostExplorerClient } from '@aws-sdk/client-cost-explorer';
import type { InvoicingClient } from '@aws-sdk/client-invoicing';
import { OrganizationsClient } from '@aws-sdk/client-organizations';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { z } from 'zod';
import { BudgetError, TransientError, throwIfInterrupted } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import { sdkAgents } from '../pipeline/shared/agents.js';
import { keepSecret } from '../pipeline/shared/printable.js';
import { boundAnswers, longestCall, until, within } from '../pipeline/shared/waits.js';
import type { Call } from './aws-errors.js';
import { AGAIN, awsError, isExpiredSession } from './aws-errors.js';
import type { Credentials, RequestSettings } from './credentials.js';
import { credentialSource, holdCredentials } from './credentials.js';
import type { AccessRole, OrganizationAccess } from './organizations.js';

/** How long a request may stay without an answer, in milliseconds. */
const TIMEOUT = 60_000;
/** Tries of one request when neither AWS_MAX_ATTEMPTS nor the caller says otherwise: Cost Explorer throttles early. */
const ATTEMPTS = 5;

interface Clients {
  /** Signs with the credentials that the organization begins with, not with the role's. */
  sts: STSClient;
  organizations: OrganizationsClient;
  costExplorer: CostExplorerClient;
  /** Loaded and made with the first call: most runs ask for no invoices. */
  invoicing: () => Promise<InvoicingClient>;
}

/**
 * An organization's credentials, its assumed role's where it has one: obtained with the first request,
 * renewed before they expire, the same for all requests.
 */
export interface Session {
  readonly access: OrganizationAccess;
  /**
   * Sends one request with the session's credentials. When AWS says that they have expired, they are
   * obtained anew and the request sent once more.
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

/** The rules by which a client of the SDK finds its endpoint. */
type EndpointRules = (
  CostExplorerClient | OrganizationsClient | InvoicingClient
)['config']['endpointProvider'];

/**
 * The region that a service with one endpoint for each partition is signed for, whatever region is asked
 * from. The SDK's rules tell it, but the SDK itself forgets it where AWS_ENDPOINT_URL names the endpoint.
 */
function globalRegion(rules: EndpointRules, region: string): string {
  const { properties } = rules({ Region: region, UseFIPS: false, UseDualStack: false });
  return endpointProperties.parse(properties).authSchemes[0].signingRegion;
}

const endpointProperties = z.object({
  authSchemes: z.tuple([z.object({ signingRegion: z.string() })], z.unknown()),
});

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
  const limits: RequestSettings = {
    ...((process.env['AWS_MAX_ATTEMPTS'] ?? '') === '' ? { maxAttempts: ATTEMPTS } : {}),
    requestHandler: {
      connectionTimeout: timeout,
      requestTimeout: timeout,
      socketTimeout: timeout,
      throwOnRequestTimeout: true,
      ...sdkAgents(timeout),
    },
  };
  const describe = ({ operation, month }: Call): string =>
    `${operation}, organization ${access.name}${month === undefined ? '' : `, ${month}`}`;
  const explain = (cause: unknown, call: Call, signal?: AbortSignal): unknown =>
    awsError(cause, { ...call, access, where: describe(call), timeout }, signal);
  // The SDK's pauses between two tries, and programs that it starts for credentials, know no signal.
  const bounded = <T>(work: Promise<T>, call: Call, signal?: AbortSignal): Promise<T> =>
    within(longestCall(timeout), until(signal, work), () => {
      const limit = longestCall(timeout) / 1000;
      return new TransientError(`no success within ${limit} s, all tries together`, {
        where: describe(call),
        next: `${AGAIN}; --timeout SECONDS allows more`,
      });
    });
  const explained =
    <T>(call: Call, ask: (signal?: AbortSignal) => Promise<T>) =>
    async (signal?: AbortSignal): Promise<T> => {
      try {
        return await bounded(ask(signal), call, signal);
      } catch (cause) {
        throw explain(cause, call, signal);
      }
    };

  const { region, role } = access;
  const profile = access.credentials.kind === 'chain' ? access.credentials.profile : undefined;
  // A profile may also tell where the services are (`endpoint_url`).
  const settings = { ...limits, ...(profile === undefined ? {} : { profile }) };
  const obtain = explained(
    { operation: 'credentials' },
    credentialSource(access.credentials, region, limits),
  );
  const bound = <C extends { middlewareStack: unknown }>(client: C): C =>
    boundAnswers(client, timeout);
  const sts = bound(new STSClient({ ...settings, region, credentials: () => obtain() }));
  const held = holdCredentials(
    role === undefined
      ? obtain
      : explained({ operation: 'AssumeRole' }, (signal) => assumeRole(sts, role, log, signal)),
  );
  const signed = { ...settings, credentials: () => held.credentials() };
  const inGlobalRegion = (client: () => { config: { endpointProvider: EndpointRules } }) => ({
    ...signed,
    // Its rules are the client's own, and so known once there is one.
    region: () => Promise.resolve(globalRegion(client().config.endpointProvider, region)),
  });
  const organizations: OrganizationsClient = bound(
    new OrganizationsClient(inGlobalRegion(() => organizations)),
  );
  const costExplorer: CostExplorerClient = bound(
    new CostExplorerClient(inGlobalRegion(() => costExplorer)),
  );
  const signing: (OrganizationsClient | CostExplorerClient | InvoicingClient)[] = [
    organizations,
    costExplorer,
  ];
  const openInvoicing = async (): Promise<InvoicingClient> => {
    const { InvoicingClient: Client } = await import('@aws-sdk/client-invoicing');
    const client: InvoicingClient = bound(new Client(inGlobalRegion(() => client)));
    signing.push(client);
    return client;
  };
  let invoicing: Promise<InvoicingClient> | undefined;
  const clients: Clients = {
    sts,
    organizations,
    costExplorer,
    invoicing: () => (invoicing ??= openInvoicing()),
  };

  const request: Session['call'] = async (call, signal, send) => {
    throwIfInterrupted(signal);
    const used = await until(signal, held.credentials(signal));
    const options = { abortSignal: signal };
    try {
      return await bounded(send(clients, options), call, signal);
    } catch (cause) {
      if (!isExpiredSession(cause)) throw explain(cause, call, signal);
    }
    log.info(
      { organization: access.name, operation: call.operation },
      'the credentials have expired: asking for new ones',
    );
    held.drop(used);
    try {
      await until(signal, held.credentials(signal));
      // Each client remembers the credentials it was given, and lets go of them only when told to.
      await Promise.all(signing.map((client) => client.config.credentials({ forceRefresh: true })));
      return await bounded(send(clients, options), call, signal);
    } catch (cause) {
      throw explain(cause, call, signal);
    }
  };

  return {
    access,
    describe,

    call: (call, signal, send) =>
      call.operation === 'GetCostAndUsage'
        ? budget.spend(describe(call), () => request(call, signal, send))
        : request(call, signal, send),

    close() {
      for (const client of [sts, ...signing]) client.destroy();
    },
  };
}

/** Counts a run's requests to Cost Explorer over all organizations, and refuses those past its limit. */
interface RequestBudget {
  /**
   * Sends a request that AWS charges for, however often it is tried. One that fails is not charged,
   * and so not counted; while one is on its way it is.
   * @throws {BudgetError} instead of sending it, when it would exceed the limit.
   */
  spend<T>(where: string, send: () => Promise<T>): Promise<T>;
}

/** Who counts the requests: this process, or whoever counts those of several. */
export interface RequestCount {
  limit: number;
  /** Counts one more request, unless that would exceed the limit; whether it did. */
  take(): Promise<boolean> | boolean;
  /** The same request failed, and does not count. */
  giveBack(): void;
  /** It was answered, and AWS charges for it. */
  pay?(): void;
}

/** Counts the requests of this process. */
export function ownCount(limit = Infinity): RequestCount {
  let count = 0;
  return {
    limit,
    take: () => count < limit && (count += 1) > 0,
    giveBack: () => (count -= 1),
  };
}

/** A budget for one run; without a limit it refuses nothing. */
export function requestBudget(count: RequestCount = ownCount()): RequestBudget {
  return {
    async spend(where, send) {
      if (!(await count.take())) {
        throw new BudgetError(
          `the run's limit of ${count.limit} Cost Explorer request${count.limit === 1 ? '' : 's'} is reached: what is staged so far is kept`,
          { where, next: 'run again to go on, with a higher --max-requests where it is too low' },
        );
      }
      let answer;
      try {
        answer = await send();
      } catch (error) {
        count.giveBack();
        throw error;
      }
      count.pay?.();
      return answer;
    },
  };
}

const assumed = z.object({
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  SessionToken: z.string().min(1),
  Expiration: z.date(),
});

/**
 * Assumes a role, for as long as the role's own default.
 * @throws what STS answers; {TransientError} when it answers without credentials.
 */
async function assumeRole(
  sts: STSClient,
  { arn, sessionName, externalId }: AccessRole,
  log: Log,
  signal?: AbortSignal,
): Promise<Credentials> {
  const { Credentials: found } = await sts.send(
    new AssumeRoleCommand({
      RoleArn: arn,
      RoleSessionName: sessionName,
      ...(externalId === undefined ? {} : { ExternalId: externalId }),
    }),
    signal === undefined ? {} : { abortSignal: signal },
  );
  const parsed = assumed.safeParse(found);
  if (!parsed.success) {
    throw new TransientError('AWS answered without credentials', {
      where: arn,
      next: 'run the same command again',
    });
  }
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = parsed.data;
  keepSecret(AccessKeyId, SecretAccessKey, SessionToken);
  log.debug({ roleArn: arn, expiration: Expiration }, 'role assumed');
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
    expiration: Expiration,
  };
}
