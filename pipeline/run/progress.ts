import { createLogUpdate } from 'log-update';
import { tell } from '../shared/output.js';
import { printable } from '../shared/printable.js';

/** Tells people on standard error how far the run is. */
export interface Progress {
  /** A task begins; the returned functions tell how it goes on. */
  begin(label: string): { update: (text: string) => void; end: (text: string) => void };
  /** Prints a line of its own, above whatever is being redrawn. */
  line: (text: string) => void;
  /** The same for a line of the log, which is printable already and may be coloured. */
  print: (line: string) => void;
  stop(): void;
}

/** One line for each running task, redrawn in place on a terminal; a line at each task's start and end elsewhere. */
export function createProgress(stream: NodeJS.WriteStream): Progress {
  // A terminal that knows no height of its own has no room to redraw in.
  return stream.isTTY && stream.rows > 0 ? redrawn(stream) : plain(stream);
}

function plain(stream: NodeJS.WriteStream): Progress {
  const print = (line: string): void => {
    tell(`${line}\n`, stream);
  };
  const line = (text: string): void => {
    print(printable(text));
  };
  return {
    begin(label) {
      line(`${label}  …`);
      return {
        update: () => undefined,
        end: (text) => {
          line(`${label}  ${text}`);
        },
      };
    },
    line,
    print,
    stop: () => undefined,
  };
}

function redrawn(stream: NodeJS.WriteStream): Progress {
  const update = createLogUpdate(stream, { showCursor: true });
  const running = new Map<number, string>();
  let next = 0;
  const draw = (): void => {
    update([...running.values()].map(printable).join('\n'));
  };
  // Pages may arrive faster than anybody reads: ten drawings a second are enough.
  let timer: NodeJS.Timeout | undefined;
  const soon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      draw();
    }, 100).unref();
  };
  const print = (line: string): void => {
    update.persist(line);
    draw();
  };
  const line = (text: string): void => {
    print(printable(text));
  };
  return {
    begin(label) {
      const id = next++;
      running.set(id, `${label}  …`);
      soon();
      return {
        update(text) {
          running.set(id, `${label}  ${text}`);
          soon();
        },
        end(text) {
          running.delete(id);
          line(`${label}  ${text}`);
        },
      };
    },
    line,
    print,
    stop() {
      clearTimeout(timer);
      update.clear();
      update.done();
    },
  };
}
