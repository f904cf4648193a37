import type { STSClient } from '@aws-sdk/client-sts';
import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import { z } from 'zod';
import { TransientError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { OrganizationAccess } from './organizations.js';

/** Credentials are renewed this long before they expire: the SDK's own margin, in milliseconds. */
const MARGIN = 300_000;

const assumed = z.object({
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  SessionToken: z.string().min(1),
  Expiration: z.date(),
});

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  expiration: Date;
}

/** A role and the credentials it gives. */
export interface Role {
  /** The credentials in force, assumed now if there are none: callers at the same time share one AssumeRole. */
  credentials(signal?: AbortSignal): Promise<Credentials>;
  /** Lets go of credentials that AWS calls expired, unless others have taken their place. */
  drop(expired: Credentials): void;
}

/**
 * Prepares a role; nothing is contacted before its credentials are asked for. They are renewed before
 * they expire, and a failure to assume the role is not remembered.
 * @param explain turns a failure into the error that is thrown.
 */
export function openRole(
  sts: STSClient,
  access: OrganizationAccess,
  log: Log,
  explain: (cause: unknown, signal?: AbortSignal) => unknown,
): Role {
  const { roleArn, roleSessionName } = access;
  let held: { promise: Promise<Credentials>; value?: Credentials; renewAt: number } | undefined;

  async function assume(signal?: AbortSignal): Promise<Credentials> {
    try {
      const { Credentials } = await sts.send(
        new AssumeRoleCommand({ RoleArn: roleArn, RoleSessionName: roleSessionName }),
        signal === undefined ? {} : { abortSignal: signal },
      );
      const found = assumed.safeParse(Credentials);
      if (!found.success) {
        throw new TransientError('AWS answered without credentials', {
          where: roleArn,
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
      throw explain(cause, signal);
    }
  }

  function credentials(signal?: AbortSignal): Promise<Credentials> {
    if (held !== undefined && Date.now() < held.renewAt) return held.promise;
    const attempt: NonNullable<typeof held> = { promise: assume(signal), renewAt: Infinity };
    held = attempt;
    attempt.promise.then(
      (value) => {
        const lifetime = value.expiration.getTime() - Date.now();
        attempt.value = value;
        attempt.renewAt = Date.now() + lifetime - Math.min(MARGIN, lifetime / 2);
      },
      () => {
        if (held === attempt) held = undefined;
      },
    );
    return attempt.promise;
  }

  return {
    credentials,
    drop(expired) {
      if (held?.value === expired) held = undefined;
    },
  };
}
