import { UsageError } from '../shared/errors.js';
import { isKey } from './layout.js';
import { localStaging } from './local.js';
import type { S3Settings } from './s3-bucket.js';
import type { Staging } from './staging.js';

/** Where a staging area lies, as the user wrote it. */
type StagingLocation =
  { kind: 'folder'; folder: string } | { kind: 's3'; bucket: string; prefix: string };

const bucketName = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/**
 * Reads `FOLDER` or `s3://bucket/prefix`; the prefix comes back without slashes at its ends.
 * @throws {UsageError} on an empty text, another scheme, a name that no bucket can have
 * (Amazon S3 user guide, general purpose bucket naming rules), or a prefix with `.` or `..` in it.
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
  const prefix = rest.filter((part) => part !== '').join('/');
  if (prefix !== '' && !isKey(prefix)) {
    throw new UsageError(`"${prefix}" cannot be a prefix in a bucket`, {
      where: text,
      next: 'write it as s3://bucket/prefix',
    });
  }
  return { kind: 's3', bucket, prefix };
}

/** How a bucket is written to; without meaning for a folder. */
export type StagingOptions = S3Settings;

/**
 * Opens the staging area; nothing is contacted or created before the first operation. The S3 client,
 * which takes a moment to load, is loaded for a bucket only.
 */
export async function openStaging(
  location: StagingLocation,
  options: StagingOptions = {},
): Promise<Staging> {
  if (location.kind === 'folder') return localStaging(location.folder);
  const { s3Staging } = await import('./s3.js');
  return s3Staging(location.bucket, location.prefix, options);
}
