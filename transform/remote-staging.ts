import type { MessagePort } from 'node:worker_threads';
import type { StagedFile, Staging } from '../pipeline/staging/staging.js';
import type { Answer, FromWorker, StagingCall, ToWorker } from './remote-calls.js';
import { handedOver } from './remote-calls.js';
import { describeThrown, restoreThrown } from './thrown.js';

interface Pending {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
  /** The main thread is ready for the next piece of a file. */
  more: () => void;
}

/**
 * The main thread's staging area, as a worker sees it: every call goes through the port, and pieces of
 * files are handed over instead of copied. A file that is read comes whole: the stage reads pages only.
 */
export function remoteStaging(port: MessagePort, location: string): Staging {
  const pending = new Map<number, Pending>();
  let calls = 0;
  port.on('message', (message: ToWorker) => {
    const waiting = pending.get(message.id);
    if (message.say === 'more') {
      waiting?.more();
      return;
    }
    pending.delete(message.id);
    if (message.say === 'answer') waiting?.resolve(message.answer);
    else waiting?.reject(restoreThrown(message.error));
  });
  const send = (message: FromWorker, hand: ArrayBuffer[] = []): void => {
    port.postMessage(message, hand);
  };
  const call = (
    asked: StagingCall,
    more: () => void = () => undefined,
  ): { id: number; answer: Promise<Answer> } => {
    const id = ++calls;
    const answer = new Promise<Answer>((resolve, reject) => {
      pending.set(id, { resolve, reject, more });
    });
    send({ say: 'call', id, call: asked });
    return { id, answer };
  };

  return {
    location,

    async *list(prefix) {
      yield* (await call({ do: 'list', prefix }).answer) as StagedFile[];
    },

    async read(key, range) {
      const bytes = (await call({ do: 'read', key, range }).answer) as Uint8Array | undefined;
      return bytes === undefined ? undefined : once(bytes);
    },

    async write(key, content, options = {}) {
      let wake = (): void => undefined;
      const more = (): void => {
        wake();
      };
      const { id, answer } = call({ do: 'write', key, options }, more);
      const state = { over: false };
      const over = answer.then(
        () => undefined,
        () => {
          state.over = true;
        },
      );
      try {
        for await (const piece of content instanceof Uint8Array ? [content] : content) {
          const taken = new Promise<void>((resolve) => (wake = resolve));
          const own = handedOver(piece);
          send({ say: 'piece', id, piece: own }, [own.buffer]);
          await Promise.race([taken, over]);
          if (state.over) break;
        }
        send({ say: 'end', id });
      } catch (error) {
        send({ say: 'given up', id, error: describeThrown(error) });
      }
      return (await answer) as boolean;
    },

    async remove(key) {
      await call({ do: 'remove', key }).answer;
    },
  };
}

// eslint-disable-next-line @typescript-eslint/require-await -- a stream of one piece
async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
