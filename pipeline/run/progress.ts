import { createLogUpdate } from 'log-update';
import { tell, tellAbove } from '../shared/output.js';
import { printable } from '../shared/printable.js';

/** Tells people on standard error how far the run is. */
export interface Progress {
  /** How far a task is, by the words in which people know it. */
  show(task: string, text: string): void;
  /** How it ended. */
  end(task: string, text: string): void;
  stop(): void;
}

/** A line for each task that ended; on a terminal also one for each that runs, redrawn in place. */
export function createProgress(stream: NodeJS.WriteStream): Progress {
  const end = (task: string, text: string): void => {
    tell(`${task}  ${text}`);
  };
  // A terminal that knows no height of its own has no room to redraw in.
  if (!stream.isTTY || stream.rows === 0)
    return { show: () => undefined, end, stop: () => undefined };
  const update = createLogUpdate(stream, { showCursor: true });
  const running = new Map<string, string>();
  let timer: NodeJS.Timeout | undefined;
  const draw = (): void => {
    timer = undefined;
    update([...running].map(([task, text]) => printable(`${task}  ${text}`)).join('\n'));
  };
  tellAbove((text) => {
    update.persist(text);
    draw();
  });
  return {
    show(task, text) {
      running.set(task, text);
      // Pages may arrive faster than anybody reads: ten drawings a second are enough.
      timer ??= setTimeout(draw, 100).unref();
    },
    end(task, text) {
      running.delete(task);
      end(task, text);
    },
    stop() {
      clearTimeout(timer);
      tellAbove(undefined);
      update.clear();
      update.done();
    },
  };
}
