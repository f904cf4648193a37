import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Figures, Rounds } from './measure.js';
import { alternate, measure, pipeline } from './measure.js';
import type { Row } from './table.js';

/** What the command takes before it does anything, beside Node's own start. */
export async function benchCommand(rounds: Rounds, home: string): Promise<Row[]> {
  const cwd = await mkdtemp(join(home, 'empty-'));
  const { node, version, status } = await alternate(rounds, {
    node: () => measure({ program: process.execPath, args: ['-e', '0'] }),
    version: () => measure(pipeline(['--version'], { cwd })),
    status: () => measure(pipeline(['status'], { cwd })),
  });
  const same = {
    stage: 'command',
    beside: '`node -e 0`',
    bound: 'most',
    theirs: inMilliseconds(node),
  } as const;
  const row = (work: string, target: number, figures: Figures): Row => ({
    ...same,
    work,
    target,
    ratio: figures.seconds / node.seconds,
    ours: inMilliseconds(figures),
  });
  return [
    row('`pipeline --version`', 3, version),
    row('`pipeline status` on an empty folder', 6, status),
  ];
}

function inMilliseconds({ seconds }: Figures): string {
  return `${Math.round(seconds * 1000)} ms`;
}
