import { ConfigurationError, UsageError } from '../errors.js';
import { localStaging } from './local.js';
import type { Staging } from './staging.js';

/** Where a staging area lies, as the user wrote it. */
export type StagingLocation =
  { kind: 'folder'; folder: string } | { kind: 's3'; bucket: string; prefix: string };

const bucketName = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/**
 * Reads `FOLDER` or `s3://bucket/prefix`; the prefix comes back without slashes at its ends.
 * @throws {UsageError} on an empty text, another scheme, or a name that no bucket can have
 * (Amazon S3 user guide, general purpose bucket naming rules).
 */
export function parseStagingLocation(text: string): StagingLocation {
  if (text === '')
    throw new UsageError('the staging area is empty', {
      next: 'name a folder or s3://bucket/prefix',
    });
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return { kind: 'folder', folder: text };
  if (scheme !== 's3') {
    throw new UsageError(`the staging area cannot be a ${scheme}:// address`, {
      next: 'name a folder or s3://bucket/prefix',
    });
  }
  const [bucket = '', ...rest] = text.slice('s3://'.length).split('/');
  if (!bucketName.test(bucket)) {
    throw new UsageError(`"${bucket}" is not the name of a bucket`, {
      where: text,
      next: 'write it as s3://bucket/prefix',
    });
  }
  return { kind: 's3', bucket, prefix: rest.filter((part) => part !== '').join('/') };
}

/** Opens the staging area; nothing is contacted or created before the first operation. */
export function openStaging(location: StagingLocation): Staging {
  if (location.kind === 'folder') return localStaging(location.folder);
  throw new ConfigurationError('staging on S3 is not built yet', {
    where: `s3://${location.bucket}/${location.prefix}`,
    next: 'name a folder with --staging',
  });
}
