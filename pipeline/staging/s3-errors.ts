import { z } from 'zod';
import type { ErrorClass } from '../shared/errors.js';
import { ConfigurationError, PipelineError, TransientError, fill } from '../shared/errors.js';
import { PROXY_LOGIN, proxyLogin } from '../shared/network.js';
import { said } from '../shared/printable.js';
import { EndlessAnswerError } from '../shared/waits.js';

/** What an S3 request failed with: the error's name, and the HTTP status or the system's code if there is one. */
export interface Failure {
  name: string;
  status: number | undefined;
  code: string | undefined;
  message: string;
  /** How often the SDK sent the request before it gave up. */
  attempts: number;
  /** The region that the bucket lies in, where the answer tells it. */
  region: string | undefined;
}

const text = z.string().optional().catch(undefined);
const number = z.number().optional().catch(undefined);
/** What the SDK adds to an error, as far as it does. */
const added = z.object({
  code: text,
  Region: text,
  $metadata: z.object({ httpStatusCode: number, attempts: number }).catch({}),
  $response: z
    .object({ headers: z.object({ 'x-amz-bucket-region': text }) })
    .catch({ headers: {} }),
});

/** Reads what the SDK threw; `undefined` for anything that is no failed request. */
export function failureOf(cause: unknown): Failure | undefined {
  if (!(cause instanceof Error)) return undefined;
  const { code, Region, $metadata, $response } = added.parse(cause);
  return {
    name: said(cause.name),
    status: $metadata.httpStatusCode,
    code,
    message: said(cause.message),
    attempts: $metadata.attempts ?? 1,
    region: $response.headers['x-amz-bucket-region'] ?? Region,
  };
}

/** Turns a failed S3 request into an error with a next step; whatever is no failed request passes unchanged. */
export function s3Error(cause: unknown, where: string, verb: string): unknown {
  const failure = failureOf(cause);
  if (failure === undefined || cause instanceof PipelineError) return cause;
  const { name, status, code, message, region } = failure;
  if (status === PROXY_LOGIN) return proxyLogin(where);
  const keys = [name, status === undefined ? (code ?? '') : String(status)];
  const meaning = meanings.find(
    ([pattern, , , , says]) =>
      keys.some((key) => pattern.test(key)) && says?.test(message) !== false,
  );
  if (meaning === undefined) return cause;
  const [, kind, words, next] = meaning;
  const facts = {
    ...{ verb, name, message, code: code ?? '', status: String(status) },
    detail: message === '' || message === name ? '' : `: ${message}`,
    region: region === undefined ? '' : `, ${region}`,
    reason: cause instanceof EndlessAnswerError ? cause.reason : '',
  };
  return new kind(fill(words, facts).trim(), { where, next, cause });
}

const AGAIN = 'run the same command again';
const RIGHTS =
  "allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket (without the last, S3 denies a missing file too), and the bucket's KMS key";

/**
 * What the names of S3's errors, Node's codes where no answer came, and HTTP statuses mean; the first row that
 * fits counts. The last part, where there is one, is what the message has to say too.
 */
const meanings: readonly (readonly [
  pattern: RegExp,
  kind: ErrorClass,
  message: string,
  next: string,
  says?: RegExp,
])[] = [
  [
    /^KMS[.A-Z]/,
    ConfigurationError,
    'the KMS key cannot be used ({name})',
    'check --s3-kms-key, the state of the key and its policy',
  ],
  [
    /^NoSuchBucket$/,
    ConfigurationError,
    'the bucket does not exist',
    'create it, or correct --staging',
  ],
  [
    /^(AccessDenied|AllAccessDisabled|Forbidden)$/,
    ConfigurationError,
    'no right to {verb} the file{detail}',
    RIGHTS,
  ],
  [
    /^(PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraintException)$/,
    ConfigurationError,
    'the bucket lies in another region{region}',
    "set AWS_REGION to the bucket's region",
  ],
  [
    /^(ExpiredToken(Exception)?|TokenRefreshRequired)$/,
    ConfigurationError,
    'the AWS credentials have expired',
    `renew them and ${AGAIN}`,
  ],
  [
    /^(InvalidAccessKeyId|InvalidToken|SignatureDoesNotMatch)$/,
    ConfigurationError,
    'S3 does not accept the AWS credentials ({name})',
    'check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the AWS profile',
  ],
  [
    /^(Credentials|Token)ProviderError$/,
    ConfigurationError,
    'no AWS credentials were found for the bucket',
    'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role',
  ],
  [/^RequestTimeTooSkewed$/, ConfigurationError, "this machine's clock is wrong", 'set the clock'],
  [
    /^NoSuchUpload$/,
    TransientError,
    'the upload was ended by someone else',
    `${AGAIN}; a lifecycle rule that ends uploads must leave them a day at least`,
  ],
  [
    /^EndlessAnswerError$/,
    TransientError,
    'S3 answered without an end: {reason}',
    `check the network and AWS_ENDPOINT_URL_S3, then ${AGAIN}; --timeout SECONDS allows more`,
  ],
  [
    /^Error$/,
    ConfigurationError,
    'no region of AWS has the name that is set',
    'check AWS_REGION, and region in the shared AWS files',
    /^Region not accepted/,
  ],
  [
    /CERT|VERIFY|_SSL_|_TLS_|^EPROTO$/,
    ConfigurationError,
    "the server's certificate is not trusted ({code})",
    'name the authority that signed it with AWS_CA_BUNDLE or NODE_EXTRA_CA_CERTS',
  ],
  [
    /^ERR_INVALID_CHAR$/,
    ConfigurationError,
    'the AWS credentials hold a character that no header can carry',
    'check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the shared AWS files for line breaks',
  ],
  [
    /^ERR_INVALID_URL$/,
    ConfigurationError,
    'the address of S3 cannot be read',
    'check AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, and endpoint_url in the shared AWS files',
  ],
  [
    /^(E(?!RR_|TIMEDOUT$)[A-Z0-9_]+|HPE_\w+|ERR_(SOCKET|STREAM|HTTP)\w*)$/,
    TransientError,
    'S3 cannot be reached ({code})',
    `check the network and AWS_ENDPOINT_URL_S3, then ${AGAIN}`,
  ],
  [
    /^(TimeoutError|ETIMEDOUT)$/,
    TransientError,
    'S3 did not answer in time',
    `check the network and AWS_ENDPOINT_URL_S3, then ${AGAIN}`,
  ],
  [/^403$/, ConfigurationError, 'no right to {verb} the file', RIGHTS],
  [
    /^(429|(?!501)[5-9]\d\d)$/,
    TransientError,
    'S3 goes on answering {name} ({status})',
    `wait a little and ${AGAIN}`,
  ],
  [/^409$/, TransientError, 'somebody else is writing the same file ({name})', AGAIN],
  [
    /^[12]\d\d$/,
    ConfigurationError,
    "the answer is not one of S3's ({status}, {name})",
    'check AWS_ENDPOINT_URL_S3 and the proxies on the way',
  ],
  [
    /^\d+$/,
    ConfigurationError,
    'S3 refuses to {verb} the file: {name} ({status}) {message}',
    "check --staging, the bucket's settings and the server behind AWS_ENDPOINT_URL_S3",
  ],
];
