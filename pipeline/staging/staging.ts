/** A file in the staging area. */
export interface StagedFile {
  /** `/`-separated path below the staging area's root, as `layout.ts` builds it. */
  key: string;
  /** Length in bytes. */
  size: number;
}

/** Bytes `start` (included) to `end` (excluded) of a file. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface WriteOptions {
  /** Write only when the key does not exist yet; the result says whether it was written. */
  ifAbsent?: boolean;
}

/**
 * What the stages share: a folder or a bucket of files, addressed by key. A driver is a function
 * from options to this object. Only "not found" is a value (`undefined`); every other failure is
 * thrown as a {@link PipelineError} that names the file.
 */
export interface Staging {
  /** The area as people write it: a folder's absolute path or `s3://bucket/prefix`. */
  readonly location: string;

  /**
   * Every file whose key starts with `prefix`, in ascending order of the key's UTF-8 bytes. A file that
   * comes or goes meanwhile may be in it or not.
   */
  list(prefix: string): AsyncIterable<StagedFile>;

  /**
   * The file's bytes (of the range, as far as the file reaches) as a stream of chunks, or `undefined`
   * when there is no such file. The stream ends with the file's (or range's) last byte or throws; it
   * shows one version of the file, whatever is written meanwhile. Whoever asks for it has to iterate
   * it: it holds a file or a connection open until then.
   */
  read(key: string, range?: ByteRange): Promise<AsyncIterable<Uint8Array> | undefined>;

  /**
   * Writes a file that appears whole or not at all: it becomes visible, on stable storage, when the
   * promise resolves, and nothing is left behind when `content` throws. Replaces an existing file.
   * Memory stays bounded whatever the length of `content`, whose chunks must not be changed once they
   * are handed over.
   * @returns false only with `ifAbsent`, when the key was there already; it is then unchanged.
   */
  write(
    key: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: WriteOptions,
  ): Promise<boolean>;

  /** Removes a file; a key that is not there is no error. */
  remove(key: string): Promise<void>;
}
