import { describeError, InterruptedError, PipelineError } from '../errors.js';

/** One thing that was looked at. */
export interface CheckLine {
  check: string;
  /** `skipped`: it could not be looked at, or was not asked for. */
  state: 'ok' | 'failed' | 'skipped';
  /** What was found, what to do, or why it was skipped. */
  text: string;
}

/** Collects lines; each step that fails leaves one, and stops nothing. */
export interface Checklist {
  readonly lines: CheckLine[];
  /**
   * Takes a step, whose result is what it found, and a text for people.
   * @returns what it found; `undefined` when it failed.
   */
  step<T>(check: string, look: () => Promise<{ found: T; text: string }>): Promise<T | undefined>;
  skip(check: string, why: string): void;
}

export function checklist(): Checklist {
  const lines: CheckLine[] = [];
  return {
    lines,
    async step(check, look) {
      try {
        const { found, text } = await look();
        lines.push({ check, state: 'ok', text });
        return found;
      } catch (error) {
        if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
        lines.push({ check, state: 'failed', text: describeError(error) });
        return undefined;
      }
    },
    skip(check, why) {
      lines.push({ check, state: 'skipped', text: why });
    },
  };
}

/** The lines as people read them. */
export function formatChecklist(lines: readonly CheckLine[]): string {
  const width = Math.max(...lines.map(({ check }) => check.length));
  return lines
    .map(({ check, state, text }) => `${state.padEnd(7)}  ${check.padEnd(width)}  ${text}`)
    .join('\n');
}
