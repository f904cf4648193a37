import type { ByteRange, StagedFile, WriteOptions } from '../pipeline/staging/staging.js';
import type { Thrown } from './thrown.js';

/** What a worker asks the staging area for, which stays with the main thread. */
export type StagingCall =
  | { do: 'list'; prefix: string }
  | { do: 'read'; key: string; range: ByteRange | undefined }
  | { do: 'write'; key: string; options: WriteOptions }
  | { do: 'remove'; key: string };

/** From the worker. A written file's pieces follow its call, each when the one before it was taken. */
export type FromWorker =
  | { say: 'call'; id: number; call: StagingCall }
  | { say: 'piece'; id: number; piece: Uint8Array }
  | { say: 'end'; id: number }
  | { say: 'given up'; id: number; error: Thrown };

/** To the worker. */
export type ToWorker =
  | { say: 'answer'; id: number; answer: Answer }
  | { say: 'failed'; id: number; error: Thrown }
  | { say: 'more'; id: number };

export type Answer = StagedFile[] | Uint8Array | boolean | undefined;

/** Node's pool of small buffers: memory that others use too, and that cannot be handed over. */
const POOLED = 4096;

/** The bytes in memory of their own, which can be handed over to another thread instead of copied. */
export function handedOver(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes;
  const whole = byteOffset === 0 && byteLength > POOLED && 2 * byteLength > buffer.byteLength;
  return whole && buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer, 0, byteLength)
    : Uint8Array.from(bytes);
}
