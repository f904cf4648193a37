import type { MessagePort } from 'node:worker_threads';
import { readAll } from '../pipeline/staging/bytes.js';
import type { StagedFile, Staging } from '../pipeline/staging/staging.js';
import type { Answer, FromWorker, StagingCall, ToWorker } from './remote-calls.js';
import { handedOver } from './remote-calls.js';
import { describeThrown, restoreThrown } from './thrown.js';

/** The pieces of one file on their way from the worker to the staging area. */
interface Pieces {
  push(piece: Uint8Array): void;
  end(): void;
  fail(error: Error): void;
  /** @param onTaken Called when the one who reads wants the piece after the last one. */
  read(onTaken: () => void): AsyncGenerator<Uint8Array>;
}

/**
 * Does for a worker what it asks of the staging area.
 * @returns a function that gives up the files that are being written, for a worker that is gone.
 */
export function serveStaging(port: MessagePort, staging: Staging): (error: Error) => void {
  const writing = new Map<number, Pieces>();
  const send = (message: ToWorker, hand: ArrayBuffer[] = []): void => {
    port.postMessage(message, hand);
  };

  const perform = async (id: number, call: StagingCall): Promise<Answer> => {
    switch (call.do) {
      case 'list': {
        const files: StagedFile[] = [];
        for await (const file of staging.list(call.prefix)) files.push(file);
        return files;
      }
      case 'read': {
        const content = await staging.read(call.key, call.range);
        return content === undefined ? undefined : handedOver(await readAll(content));
      }
      case 'write': {
        const pieces = createPieces();
        writing.set(id, pieces);
        try {
          const content = pieces.read(() => {
            send({ say: 'more', id });
          });
          return await staging.write(call.key, content, call.options);
        } finally {
          writing.delete(id);
        }
      }
      case 'remove':
        return staging.remove(call.key).then(() => undefined);
    }
  };

  port.on('message', (message: FromWorker) => {
    const { id } = message;
    switch (message.say) {
      case 'call':
        perform(id, message.call).then(
          (answer) => {
            send(
              { say: 'answer', id, answer },
              answer instanceof Uint8Array ? [answer.buffer as ArrayBuffer] : [],
            );
          },
          (error: unknown) => {
            send({ say: 'failed', id, error: describeThrown(error) });
          },
        );
        break;
      case 'piece':
        writing.get(id)?.push(message.piece);
        break;
      case 'end':
        writing.get(id)?.end();
        break;
      case 'given up':
        writing.get(id)?.fail(restoreThrown(message.error));
        break;
    }
  });
  return (error) => {
    for (const pieces of writing.values()) pieces.fail(error);
  };
}

function createPieces(): Pieces {
  const queue: Uint8Array[] = [];
  let ended = false;
  let failure: Error | undefined;
  let wake = (): void => undefined;
  return {
    push(piece) {
      queue.push(piece);
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    fail(error) {
      failure = error;
      wake();
    },
    async *read(onTaken) {
      for (;;) {
        if (failure !== undefined) throw failure;
        const piece = queue.shift();
        if (piece !== undefined) {
          yield piece;
          onTaken();
        } else if (ended) {
          return;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    },
  };
}
