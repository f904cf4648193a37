import { ConfigurationError } from './errors.js';
import { codeOf } from './files.js';
import { jsonDocument, printableLines } from './printable.js';
import { GRACE, within } from './waits.js';

/**
 * The one place that writes to the process's two channels. Standard error tells how the work goes: what
 * cannot be told is lost, and the work goes on. Standard output has the result: a reader that has seen enough
 * may go (EPIPE), anything else is a failure that the exit code tells.
 */

/** Bytes for people that may wait for a reader who does not read; what comes on top of them is lost. */
const MOST_WAITING = 1024 * 1024;

let lost: Error | undefined;

/** Takes note of the channels' failures, also of what libraries write; without it, they end the process. */
export function watchChannels(): void {
  process.stdout.on('error', (cause: Error) => {
    lost ??= cause;
  });
  process.stderr.on('error', () => undefined);
}

let above: ((text: string) => void) | undefined;

/** Has what is told from now on printed above the lines that are redrawn in place; `undefined`: there are none. */
export function tellAbove(print: typeof above): void {
  above = print;
}

/** Tells people something on standard error, made printable, on a line or lines of its own; never fails. */
export function tell(text: string): void {
  const { stderr } = process;
  if (stderr.writableLength > MOST_WAITING) return;
  try {
    if (above === undefined) stderr.write(`${printableLines(text)}\n`);
    else above(printableLines(text));
  } catch {
    // A channel that is gone: there is nobody to tell it to.
  }
}

let documentPrinted = false;

/** Whether a program got its one document. */
export function isDocumentPrinted(): boolean {
  return documentPrinted;
}

/** Prints a command's result for people, see {@link print}. */
export async function printText(text: string): Promise<void> {
  await print(printableLines(`${text}\n`));
}

/** Prints a command's result for programs: with `--json`, all that standard output gets; see {@link print}. */
export async function printDocument(document: unknown): Promise<void> {
  documentPrinted = true;
  await print(jsonDocument(document));
}

/**
 * Writes a piece of the result to standard output, and waits until it and all before it is taken.
 * @throws {ConfigurationError} when any of it cannot be written, but for a reader that is gone.
 */
export async function print(content: string | Uint8Array): Promise<void> {
  const failure = await new Promise<Error | null | undefined>((resolve) => {
    try {
      process.stdout.write(content, resolve);
    } catch (cause) {
      resolve(cause instanceof Error ? cause : new Error(String(cause)));
    }
  });
  if (failure != null) lost ??= failure;
  const code = codeOf(lost);
  if (lost === undefined || code === 'EPIPE') return;
  throw new ConfigurationError(
    `the result cannot be written to standard output (${code ?? lost.message})`,
    { next: 'let standard output lead to a reader, or to a disk with room' },
  );
}

/** Waits until people were told everything, or nobody listens. */
export async function told(): Promise<void> {
  const taken = new Promise<void>((resolve) => {
    try {
      process.stderr.write('', () => {
        resolve();
      });
    } catch {
      resolve();
    }
  });
  await within(GRACE, taken, () => new Error('nobody reads')).catch(() => undefined);
}
