import { createHash } from 'node:crypto';
import type { Staging } from './staging.js';

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
