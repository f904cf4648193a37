import { createHash } from 'node:crypto';

/** A file in the staging area. */
export interface StagedFile {
  /** `/`-separated path below the staging area's root, as `layout.ts` builds it. */
  key: string;
  /** Length in bytes; NaN, or the length all the same, where it was not asked for. */
  size: number;
}

export interface ListOptions {
  /** Whether the files' lengths are wanted (default true): a folder is asked for each file's by itself. */
  sizes?: boolean;
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
  list(prefix: string, options?: ListOptions): AsyncIterable<StagedFile>;

  /**
   * The file's bytes as a stream of chunks, or `undefined` when there is no such file. The stream ends
   * with the file's last byte or throws; it shows one version of the file, whatever is written meanwhile.
   * Whoever asks for it has to iterate it: it holds a file or a connection open until then.
   */
  read(key: string): Promise<AsyncIterable<Uint8Array> | undefined>;

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

/** Every chunk of a stream in one array: for files known to be small, such as a page or a manifest. */
export async function readAll(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/** Lower-case hexadecimal SHA-256. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Length and SHA-256 of a stream, in memory bounded by its chunks. */
export async function digest(
  content: AsyncIterable<Uint8Array>,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of content) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** A file of the staging area that is written piece by piece. */
export interface StagedWriter {
  /** Appends a piece; resolves when the driver is ready for more. */
  write(chunk: Uint8Array): Promise<void>;
  /** Completes the file, which becomes visible now. */
  close(): Promise<{ key: string; bytes: number; sha256: string }>;
  /** Gives the file up: nothing of it becomes visible. Never throws. */
  abort(): Promise<void>;
}

/**
 * Opens a file of the staging area for writing piece by piece, hashing on the way. A piece belongs to
 * the writer from then on: the caller must not change its bytes.
 * `write` and `close` throw what the driver throws (a full disk, a refused upload).
 */
export function openWriter(staging: Staging, key: string): StagedWriter {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const written = staging.write(key, readable);
  // A driver that gives up without reading on would leave `write` waiting for it for ever.
  written.catch((cause: unknown) => writer.abort(cause).catch(() => undefined));
  writer.closed.catch(() => undefined);
  const hash = createHash('sha256');
  let bytes = 0;
  const handOver = async (step: Promise<void>): Promise<void> => {
    try {
      await step;
    } catch (error) {
      // What stopped the driver says more than what the stream between us says of it.
      await written;
      throw error;
    }
  };
  return {
    async write(chunk) {
      hash.update(chunk);
      bytes += chunk.length;
      await handOver(writer.write(chunk));
    },
    async close() {
      await handOver(writer.close());
      await written;
      return { key, bytes, sha256: hash.digest('hex') };
    },
    async abort() {
      await writer.abort(new Error('given up')).catch(() => undefined);
      await written.catch(() => undefined);
    },
  };
}
