import { ConfigurationError, PipelineError, TransientError } from '../shared/errors.js';
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

/** Reads what the SDK threw; `undefined` for anything that is no failed request. */
export function failureOf(cause: unknown): Failure | undefined {
  if (!(cause instanceof Error)) return undefined;
  const metadata = objectAt(cause, '$metadata');
  const headers = objectAt(objectAt(cause, '$response'), 'headers');
  return {
    name: said(cause.name),
    status: numberAt(metadata, 'httpStatusCode'),
    code: stringAt(cause, 'code'),
    message: said(cause.message),
    attempts: numberAt(metadata, 'attempts') ?? 1,
    region: stringAt(headers, 'x-amz-bucket-region') ?? stringAt(cause, 'Region'),
  };
}

interface Remedy {
  kind: typeof ConfigurationError | typeof TransientError;
  message: string;
  next: string;
}

const again = 'run the same command again';

/** Turns a failed S3 request into an error with a next step; whatever is no failed request passes unchanged. */
export function s3Error(cause: unknown, where: string, verb: string): unknown {
  const failure = failureOf(cause);
  if (failure === undefined || cause instanceof PipelineError) return cause;
  if (failure.status === PROXY_LOGIN) return proxyLogin(where);
  if (cause instanceof EndlessAnswerError) {
    return new TransientError(`S3 answered without an end: ${cause.reason}`, {
      where,
      next: `check the network and AWS_ENDPOINT_URL_S3, then ${again}; --timeout SECONDS allows more`,
      cause,
    });
  }
  const remedy = byName(failure, verb) ?? byCode(failure) ?? byStatus(failure, verb);
  if (remedy === undefined) return cause;
  return new remedy.kind(remedy.message, { where, next: remedy.next, cause });
}

function byName({ name, message, region }: Failure, verb: string): Remedy | undefined {
  const kind = ConfigurationError;
  if (/^KMS\.|^KMS[A-Z]/.test(name)) {
    return {
      kind,
      message: `the KMS key cannot be used (${name})`,
      next: 'check --s3-kms-key, the state of the key and its policy',
    };
  }
  switch (name) {
    case 'NoSuchBucket':
      return {
        kind,
        message: 'the bucket does not exist',
        next: 'create it, or correct --staging',
      };
    case 'AccessDenied':
    case 'AllAccessDisabled':
    case 'Forbidden':
      return denied(name, message, verb);
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
      return {
        kind,
        message: `the bucket lies in another region${region === undefined ? '' : `, ${region}`}`,
        next: "set AWS_REGION to the bucket's region",
      };
    case 'ExpiredToken':
    case 'ExpiredTokenException':
    case 'TokenRefreshRequired':
      return {
        kind,
        message: 'the AWS credentials have expired',
        next: `renew them and ${again}`,
      };
    case 'InvalidAccessKeyId':
    case 'InvalidToken':
    case 'SignatureDoesNotMatch':
      return {
        kind,
        message: `S3 does not accept the AWS credentials (${name})`,
        next: 'check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the AWS profile',
      };
    case 'CredentialsProviderError':
    case 'TokenProviderError':
      return {
        kind,
        message: 'no AWS credentials were found for the bucket',
        next: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role',
      };
    case 'RequestTimeTooSkewed':
      return { kind, message: "this machine's clock is wrong", next: 'set the clock' };
    case 'NoSuchUpload':
      return {
        kind: TransientError,
        message: 'the upload was ended by someone else',
        next: `${again}; a lifecycle rule that ends uploads must leave them a day at least`,
      };
    default:
      return undefined;
  }
}

function denied(name: string, message: string, verb: string): Remedy {
  const detail = name === message || message === '' ? '' : `: ${message}`;
  return {
    kind: ConfigurationError,
    message: `no right to ${verb} the file${detail}`,
    next: "allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket (without the last, S3 denies a missing file too), and the bucket's KMS key",
  };
}

function byCode({ name, code, status, message }: Failure): Remedy | undefined {
  if (status !== undefined) return undefined;
  if (message.startsWith('Region not accepted')) {
    return {
      kind: ConfigurationError,
      message: 'no region of AWS has the name that is set',
      next: 'check AWS_REGION, and region in the shared AWS files',
    };
  }
  if (code !== undefined && /CERT|VERIFY|_SSL_|_TLS_|^EPROTO$/.test(code)) {
    return {
      kind: ConfigurationError,
      message: `the server's certificate is not trusted (${code})`,
      next: 'name the authority that signed it with AWS_CA_BUNDLE or NODE_EXTRA_CA_CERTS',
    };
  }
  if (code === 'ERR_INVALID_CHAR') {
    return {
      kind: ConfigurationError,
      message: 'the AWS credentials hold a character that no header can carry',
      next: 'check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the shared AWS files for line breaks',
    };
  }
  if (code === 'ERR_INVALID_URL') {
    return {
      kind: ConfigurationError,
      message: 'the address of S3 cannot be read',
      next: 'check AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, and endpoint_url in the shared AWS files',
    };
  }
  if (
    name === 'TimeoutError' ||
    (code !== undefined && /^E(?!RR_)|^HPE_|^ERR_(SOCKET|STREAM|HTTP)/.test(code))
  ) {
    return {
      kind: TransientError,
      message:
        code === undefined || code === 'ETIMEDOUT'
          ? 'S3 did not answer in time'
          : `S3 cannot be reached (${code})`,
      next: `check the network and AWS_ENDPOINT_URL_S3, then ${again}`,
    };
  }
  return undefined;
}

function byStatus({ name, status, message }: Failure, verb: string): Remedy | undefined {
  if (status === undefined) return undefined;
  if (status === 403) return denied(name, '', verb);
  if (status === 429 || (status >= 500 && status !== 501)) {
    return {
      kind: TransientError,
      message: `S3 goes on answering ${name} (${status})`,
      next: `wait a little and ${again}`,
    };
  }
  if (status === 409) {
    return {
      kind: TransientError,
      message: `somebody else is writing the same file (${name})`,
      next: again,
    };
  }
  if (status < 300) {
    return {
      kind: ConfigurationError,
      message: `the answer is not one of S3's (${status}, ${name})`,
      next: 'check AWS_ENDPOINT_URL_S3 and the proxies on the way',
    };
  }
  return {
    kind: ConfigurationError,
    message: `S3 refuses to ${verb} the file: ${name} (${status}) ${message}`.trim(),
    next: "check --staging, the bucket's settings and the server behind AWS_ENDPOINT_URL_S3",
  };
}

function objectAt(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function stringAt(value: unknown, name: string): string | undefined {
  const found = objectAt(value, name);
  return typeof found === 'string' ? found : undefined;
}

function numberAt(value: unknown, name: string): number | undefined {
  const found = objectAt(value, name);
  return typeof found === 'number' ? found : undefined;
}
