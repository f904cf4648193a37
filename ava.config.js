import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { relative, sep } from 'node:path';

/** Folders whose files wait for processes and servers: the short ones of the others then fill what time is left. */
const slow = ['crash', 'simulation', 'docs', 'bench', 'end-to-end'];

/** Slow folders come first, and of a folder the longest files, so that none is left to run alone at the end. */
function bySize(a, b) {
  const [one, other] = [a, b].map((file) => {
    const [folder = ''] = relative('dist/test', file).split(sep);
    return { rank: slow.includes(folder) ? 0 : 1, size: statSync(file).size };
  });
  return one.rank - other.rank || other.size - one.size;
}

export default {
  files: ['dist/test/**/*.test.js'],
  timeout: '5m',
  workerThreads: false,
  // One more than there are cores, since many of them wait: for a time-out, a lock, a server that starts.
  concurrency: availableParallelism() + 1,
  sortTestFiles: bySize,
};
