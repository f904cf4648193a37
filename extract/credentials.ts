import type { sdkAgents } from '../pipeline/shared/agents.js';
import { keepSecret } from '../pipeline/shared/printable.js';
import type { CredentialOrigin } from './organizations.js';

/** What requests are signed with. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** The limits of the requests that getting credentials may need (of the SDK's clients for SSO and STS). */
export interface RequestSettings {
  maxAttempts?: number;
  /** Each in milliseconds. */
  requestHandler: {
    connectionTimeout: number;
    requestTimeout: number;
    socketTimeout: number;
    throwOnRequestTimeout: boolean;
  } & ReturnType<typeof sdkAgents>;
}

/**
 * Where the credentials that an organization begins with come from. Each call reads the shared AWS files
 * anew, so that what was renewed in them meanwhile is found.
 *
 * A named profile is asked alone: inside the default chain, one that is missing or broken would fall
 * through to the container's or instance's role, which may belong to another payer.
 */
export function credentialSource(
  origin: CredentialOrigin,
  region: string,
  clientConfig: RequestSettings,
): () => Promise<Credentials> {
  if (origin.kind === 'keys') {
    const { accessKeyId, secretAccessKey } = origin;
    keepSecret(accessKeyId, secretAccessKey);
    return () => Promise.resolve({ accessKeyId, secretAccessKey });
  }
  const { profile } = origin;
  return async () => {
    const { fromIni, fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
    const common = { ignoreCache: true, clientConfig };
    const provider =
      profile === undefined ? fromNodeProviderChain(common) : fromIni({ ...common, profile });
    const found = await provider({
      callerClientConfig: { region: () => Promise.resolve(region) },
    });
    keepSecret(found.accessKeyId, found.secretAccessKey, found.sessionToken);
    return found;
  };
}

/** Credentials that are kept until they have to be renewed. */
interface HeldCredentials {
  /** Those in force, obtained now if there are none: callers at the same time share one attempt. */
  credentials(signal?: AbortSignal): Promise<Credentials>;
  /** Lets go of credentials that AWS calls expired, unless others have taken their place. */
  drop(expired: Credentials): void;
}

/** Credentials are renewed this long before they expire: the SDK's own margin, in milliseconds. */
const MARGIN = 300_000;

/** Keeps what `obtain` gives, and asks it again before it expires. A failure is not remembered. */
export function holdCredentials(
  obtain: (signal?: AbortSignal) => Promise<Credentials>,
): HeldCredentials {
  let held: { promise: Promise<Credentials>; value?: Credentials; renewAt: number } | undefined;
  return {
    credentials(signal) {
      if (held !== undefined && Date.now() < held.renewAt) return held.promise;
      const attempt: NonNullable<typeof held> = { promise: obtain(signal), renewAt: Infinity };
      held = attempt;
      attempt.promise.then(
        (value) => {
          attempt.value = value;
          if (value.expiration === undefined) return;
          const lifetime = value.expiration.getTime() - Date.now();
          attempt.renewAt = Date.now() + lifetime - Math.min(MARGIN, lifetime / 2);
        },
        () => {
          if (held === attempt) held = undefined;
        },
      );
      return attempt.promise;
    },
    drop(expired) {
      if (held?.value === expired) held = undefined;
    },
  };
}
