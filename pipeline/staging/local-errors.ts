import { ConfigurationError, PipelineError, TransientError } from '../shared/errors.js';
import { codeOf } from '../shared/files.js';

/** Whether a path leads nowhere: as in a bucket, a file on the way is no reason to fail. */
export function isNotFound(cause: unknown): boolean {
  const code = codeOf(cause);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Does a file operation; its failure becomes an error with a next step. */
export async function attempt<T>(
  verb: string,
  path: string,
  operation: () => Promise<T>,
): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    throw fileError(cause, path, verb);
  }
}

function fileError(cause: unknown, where: string, verb: string): unknown {
  const code = codeOf(cause);
  if (cause instanceof PipelineError || code === undefined) return cause;
  const configuration = (message: string, next: string): ConfigurationError =>
    new ConfigurationError(`${message} (${code})`, { where, next, cause });
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new TransientError(`the disk is full (${code})`, {
        where,
        next: 'make room and run the same command again',
        cause,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return configuration(
        `no right to ${verb} the file`,
        'give this user the right, or choose another folder with --staging',
      );
    case 'ENOTDIR':
    case 'EISDIR':
    case 'EEXIST':
    case 'ENOTEMPTY':
      return configuration(
        `cannot ${verb}: a file stands where a folder belongs, or the reverse`,
        'choose another folder with --staging',
      );
    case 'ENOENT':
      return configuration(
        `cannot ${verb}: no folder can be made there, or something removes it again and again`,
        'choose another folder with --staging',
      );
    case 'EXDEV':
      return configuration(
        'a folder of the staging area lies on another disk than the staging area itself',
        'keep the whole staging area on one disk',
      );
    case 'ELOOP':
    case 'ENAMETOOLONG':
      return configuration(
        `cannot ${verb}: the path is too long or leads in a circle`,
        'choose another folder with --staging',
      );
    default:
      return new TransientError(`could not ${verb} the file (${code})`, {
        where,
        next: 'run the same command again',
        cause,
      });
  }
}
