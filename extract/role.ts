import type { STSClient } from '@aws-sdk/client-sts';
import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import { z } from 'zod';
import { TransientError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { keepSecret } from '../pipeline/printable.js';
import type { Credentials } from './credentials.js';
import type { AccessRole } from './organizations.js';

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
export async function assumeRole(
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
