import { pathToFileURL } from 'node:url';

/** The environment in which `node` loads a module before the program itself. */
export function preloaded(file: string): Record<string, string> {
  return { NODE_OPTIONS: `--import=${pathToFileURL(file).href}` };
}
