import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { checkKey } from './layout.js';
import { download } from './s3-download.js';
import { failureOf } from './s3-errors.js';
import { listBucket } from './s3-list.js';
import type { S3Settings } from './s3-bucket.js';
import { openBucket } from './s3-bucket.js';
import { upload } from './s3-upload.js';
import type { Staging } from './staging.js';

/**
 * A staging area below a prefix of a bucket. Credentials, region and endpoint are the SDK's own
 * settings: environment, shared files, the machine's role.
 */
export function s3Staging(name: string, prefix: string, settings: S3Settings = {}): Staging {
  const bucket = openBucket(name, prefix, settings);
  return {
    location: bucket.location,

    list: (keyPrefix) => listBucket(bucket, keyPrefix),

    async read(key, range) {
      checkKey(key);
      return download(bucket, key, range);
    },

    async write(key, content, options = {}) {
      checkKey(key);
      return upload(bucket, key, content, options);
    },

    async remove(key) {
      checkKey(key);
      await bucket.ask('remove', key, (client) =>
        client
          .send(new DeleteObjectCommand({ Bucket: name, Key: bucket.nameOf(key) }))
          .catch((cause: unknown) => {
            if (failureOf(cause)?.name !== 'NoSuchKey') throw cause;
          }),
      );
    },
  };
}
