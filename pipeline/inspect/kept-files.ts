import type { Staging } from '../staging/staging.js';

/** Bytes of files that are kept in all: those of a slice of some ten thousand rows. A larger file is read again. */
const ROOM = 4 * 1024 * 1024;

/**
 * A staging area for who compares the same few files with one thing after the other: small ones are read once, and are
 * the same bytes in each comparison. It is for one slice, and then forgotten.
 */
export function keptFiles(staging: Staging): Staging {
  const files = new Map<string, readonly Uint8Array[]>();
  let room = ROOM;
  async function* keeping(
    key: string,
    content: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of content) {
      bytes += chunk.length;
      if (bytes <= room) chunks.push(chunk);
      else chunks.length = 0;
      yield chunk;
    }
    if (bytes > room || files.has(key)) return;
    room -= bytes;
    files.set(key, chunks);
  }
  return {
    ...staging,
    async read(key) {
      const kept = files.get(key);
      if (kept !== undefined) return again(kept);
      const content = await staging.read(key);
      return content && keeping(key, content);
    },
  };
}

async function* again(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}
