import { DeleteObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { ConfigurationError, DataError } from '../shared/errors.js';
import { checkKey, checkPrefix, isKey } from './layout.js';
import type { Bucket, S3Settings } from './s3-bucket.js';
import { openBucket } from './s3-bucket.js';
import { failureOf } from './s3-errors.js';
import { download, upload } from './s3-transfer.js';
import type { StagedFile, Staging } from './staging.js';

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

/** Pages of one listing, each of up to 1,000 files: far more than a staging area holds. */
const MOST_PAGES = 10_000;

/**
 * Every file below a prefix, page by page to the last continuation token. Names that are no keys,
 * such as the empty `folder/` objects that consoles make, are no files of the staging area.
 * @throws {DataError} when a token does not lead on, or there is always another one.
 * @throws {ConfigurationError} when the names come out of order, as a directory bucket lists them.
 */
export async function* listBucket(bucket: Bucket, prefix: string): AsyncGenerator<StagedFile> {
  checkPrefix(prefix);
  const where = `${bucket.location}/${prefix}`;
  const seen = new Set<string>();
  let previous: string | undefined;
  for (let token: string | undefined; ;) {
    const page = await bucket.ask('list', prefix, (client) =>
      client.send(
        new ListObjectsV2Command({
          Bucket: bucket.name,
          Prefix: bucket.nameOf(prefix),
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
      ),
    );
    if (page.IsTruncated === undefined) {
      // A proxy's own page, read as an empty listing, would have every month fetched again.
      throw new ConfigurationError('the answer is not a listing of S3', {
        where,
        next: 'check AWS_ENDPOINT_URL_S3 and the proxies on the way',
      });
    }
    token = page.IsTruncated ? page.NextContinuationToken : undefined;
    if (page.IsTruncated && (token === undefined || seen.has(token))) {
      throw new DataError('the continuation token of the listing leads nowhere', {
        where,
        next: 'check the server behind AWS_ENDPOINT_URL_S3',
      });
    }
    if (token !== undefined) seen.add(token);
    if (seen.size >= MOST_PAGES) {
      throw new DataError(`the listing has no end after ${MOST_PAGES} pages`, {
        where,
        next: 'check the server behind AWS_ENDPOINT_URL_S3',
      });
    }
    for (const { Key: name, Size: size } of page.Contents ?? []) {
      if (name === undefined || size === undefined) continue;
      if (previous !== undefined && Buffer.from(previous).compare(Buffer.from(name)) >= 0) {
        throw new ConfigurationError('the bucket lists its files out of order', {
          where,
          next: 'take a general purpose bucket: a directory bucket cannot hold a staging area',
        });
      }
      previous = name;
      const key = bucket.keyOf(name);
      if (key !== undefined && isKey(key)) yield { key, size };
    }
    if (token === undefined) return;
  }
}
