import { randomBytes } from 'node:crypto';
import type { TestFn } from 'ava';
import type { S3Fault, S3Operation } from '../../../fixtures/cloud/s3-wire.js';
import type { S3Request, S3Server } from '../../../fixtures/cloud/s3.js';
import { startS3 } from '../../../fixtures/cloud/s3.js';
import type { StagingOptions } from '../../../pipeline/staging/open.js';
import { s3Staging } from '../../../pipeline/staging/s3.js';
import type { Staging } from '../../../pipeline/staging/staging.js';

/** A bucket of one test: tests side by side see only their own requests and faults. */
export interface TestBucket {
  name: string;
  /** The area `s3://name/area`. */
  staging: Staging;
  /** The same area with other settings. */
  open: (options: StagingOptions) => Staging;
  strike: (fault: S3Fault) => void;
  /** The bucket's requests so far, of one operation if given. */
  sent: (operation?: S3Operation) => S3Request[];
  /** Uploads that are neither complete nor taken back. */
  uploads: () => number;
}

export type BucketFor = (
  settings?: { region?: string; pageSize?: number; conditional?: boolean },
  options?: StagingOptions,
) => TestBucket;

/** Starts a server for the tests of a file, and points the SDK of this process to it. */
export async function startBuckets(
  test: TestFn,
): Promise<{ server: S3Server; bucketFor: BucketFor }> {
  const server = await startS3();
  Object.assign(process.env, server.environment);
  test.after.always(() => server.close());
  const bucketFor: BucketFor = (settings, options = {}) => {
    const name = `bucket-${randomBytes(6).toString('hex')}`;
    const bucket = server.createBucket(name, settings);
    const open: TestBucket['open'] = (other) => s3Staging(name, 'area', other);
    return {
      name,
      staging: open(options),
      open,
      strike: (fault) => server.faults.push({ ...fault, bucket: name }),
      sent: (operation) =>
        server.requests.filter(
          (request) =>
            request.bucket === name && (operation ?? request.operation) === request.operation,
        ),
      uploads: () => bucket.uploads.size,
    };
  };
  return { server, bucketFor };
}

export function statuses(requests: readonly S3Request[]): number[] {
  return requests.map(({ status }) => status);
}
