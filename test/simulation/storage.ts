import type { Random } from '../../fixtures/demo/random.js';
import { TransientError } from '../../pipeline/shared/errors.js';
import { MANIFEST, parseExtractionKey } from '../../pipeline/staging/layout.js';
import type { StagedFile, Staging } from '../../pipeline/staging/staging.js';
import type { Actor, Schedule, Way } from './schedule.js';

/** What may go wrong, in chances of a thousand for each request. */
export interface Weather {
  /** The request takes seconds, or a minute and more. */
  slow: number;
  stuck: number;
  /** AWS takes minutes for an answer. */
  longAnswer: number;
  /** Nothing takes effect, and the failure is told. */
  lostRequest: number;
  /** It takes effect, and a failure is told. */
  lostAnswer: number;
  /** A file breaks off while it is read. */
  broken: number;
  /** What the contract rules out: success is told of what is lost, torn, altered; a listing lacks or repeats a file. */
  lie: number;
  /** The same of exports alone: one is lost, or altered, as a rule into that of another month. */
  exports: number;
}

export const calm: Weather = {
  slow: 0,
  stuck: 0,
  longAnswer: 0,
  lostRequest: 0,
  lostAnswer: 0,
  broken: 0,
  lie: 0,
  exports: 0,
};

/** A file that is not what its writer was told. */
export interface Lie {
  key: string;
  kind: 'lost' | 'torn' | 'altered' | 'listing';
}

/** What keeps the files, whoever works on them. */
export interface Storage {
  /** What is there now. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** When each file took effect, in milliseconds of the schedule, and who wrote it. */
  readonly written: ReadonlyMap<string, { at: number; by: Actor }>;
  /** What is not as its writer was told, now. */
  readonly lies: readonly Lie[];
  /** Whether anything ever was. */
  hasLied(): boolean;
  /** The storage as a process sees it. @param counts see {@link Schedule.ask}. */
  open(actor: Actor, counts: boolean): Staging;
}

/** How long a request takes. */
export function wayOf(random: Random, weather: Weather): Way {
  const part = (): number => {
    if (chance(random, weather.stuck)) return 30_000 + random.below(100_000);
    if (chance(random, weather.slow)) return 500 + random.below(20_000);
    return 1 + random.below(40);
  };
  return { there: part(), back: part(), outlives: random.chance(50) };
}

/** Whether a file belongs to an extraction that has no manifest yet when it is written. */
function isDraft(key: string): boolean {
  const file = parseExtractionKey(key)?.file;
  return file !== undefined && file !== MANIFEST;
}

/** True in about so many of a thousand calls. */
export function chance(random: Random, perMille: number): boolean {
  return random.below(1000) < perMille;
}

/**
 * A storage that keeps to the contract of `Staging` in good weather and in bad: a file appears whole or not at all,
 * and one that comes or goes while a listing is made is in it or not. Where the weather lies, it does not.
 * @param onChange is told of each file that has come, changed or gone.
 * @param twins files of another month of the same sums, which may lie in the place of what was written.
 */
export function createStorage(
  schedule: Schedule,
  random: Random,
  weather: () => Weather,
  onChange: (key: string, before: Uint8Array | undefined) => void,
  twins: ReadonlyMap<string, Uint8Array> = new Map(),
): Storage {
  const files = new Map<string, Uint8Array>();
  const written = new Map<string, { at: number; by: Actor }>();
  const lies: Lie[] = [];
  let lied = false;

  const store = (actor: Actor, key: string, bytes: Uint8Array): void => {
    const before = files.get(key);
    const kind = chance(random, weather().lie)
      ? random.pick<Exclude<Lie['kind'], 'listing'>>(
          // Before its manifest is written nothing tells what a page was, see docs/guarantees.md.
          isDraft(key) ? ['lost', 'torn'] : ['lost', 'torn', 'altered'],
        )
      : /^(parquet|csv)\//.test(key) && chance(random, weather().exports)
        ? random.pick(['lost', 'altered'] as const)
        : undefined;
    if (kind !== undefined) {
      lied = true;
      lies.push({ key, kind });
      schedule.trace(`${actor.name} is told that ${key} is written: ${kind}`);
      if (kind === 'lost') return;
      files.set(key, damaged(key, bytes, kind));
    } else {
      files.set(key, bytes);
      // Written whole at last.
      for (let index = lies.length - 1; index >= 0; index -= 1)
        if (lies[index]?.key === key) lies.splice(index, 1);
    }
    written.set(key, { at: schedule.now(), by: actor });
    onChange(key, before);
  };

  const damaged = (key: string, bytes: Uint8Array, kind: 'torn' | 'altered'): Uint8Array => {
    if (kind === 'torn') return bytes.subarray(0, random.below(bytes.length + 1));
    const twin = twins.get(key);
    if (twin !== undefined && random.chance(80)) return twin;
    const other = Uint8Array.from(bytes);
    const at = random.below(other.length);
    if (other.length > 0) other[at] = (other[at] ?? 0) ^ (1 + random.below(255));
    return other;
  };

  return {
    files,
    written,
    lies,
    hasLied: () => lied,
    open(actor, counts) {
      /** A request that may be lost on its way, there or back. */
      const ask = <T>(what: string, effect: () => T): Promise<T> => {
        const bad = weather();
        const lost = actor.cutOffUntil > schedule.now() || chance(random, bad.lostRequest);
        const unheard = !lost && chance(random, bad.lostAnswer);
        const fate = lost ? ': lost' : unheard ? ': answer lost' : '';
        return schedule.ask(
          actor,
          wayOf(random, bad),
          () => {
            schedule.trace(`${actor.name} ${what}${fate}`);
            return lost ? undefined : { value: effect() };
          },
          (result) => {
            if (result !== undefined && !unheard) return result.value;
            throw new TransientError('the storage gave no answer', { where: what, next: 'again' });
          },
          counts,
        );
      };
      const sizes = (prefix: string): Map<string, number> =>
        new Map(
          [...files]
            .filter(([key]) => key.startsWith(prefix))
            .map(([key, { length }]) => [key, length]),
        );

      return {
        location: 'simulated:',

        async *list(prefix) {
          const before = sizes(prefix);
          const later = await ask(`list ${prefix}`, () => sizes(prefix));
          const found: StagedFile[] = [];
          for (const key of new Set([...before.keys(), ...later.keys()])) {
            const size = random.chance(50)
              ? (later.get(key) ?? before.get(key))
              : (before.get(key) ?? later.get(key));
            const stays = before.has(key) && later.has(key);
            if (size !== undefined && (stays || random.chance(50))) found.push({ key, size });
          }
          if (found.length > 0 && chance(random, weather().lie)) {
            lied = true;
            lies.push({ key: prefix, kind: 'listing' });
            const [struck] = found.splice(random.below(found.length), 1);
            if (struck !== undefined && random.chance(50)) found.push(struck, struck);
          }
          yield* found.sort((a, b) => (a.key < b.key ? -1 : 1));
        },

        async read(key) {
          const bytes = await ask(`read ${key}`, () => files.get(key));
          if (bytes === undefined) return undefined;
          const breaks = chance(random, weather().broken);
          return chunksOf(
            breaks ? bytes.subarray(0, random.below(bytes.length + 1)) : bytes,
            () => {
              if (breaks)
                throw new TransientError('the file broke off', { where: key, next: 'again' });
            },
          );
        },

        async write(key, content, { ifAbsent = false } = {}) {
          const chunks: Uint8Array[] = [];
          if (content instanceof Uint8Array) chunks.push(content);
          else for await (const chunk of content) chunks.push(chunk);
          const bytes = Buffer.concat(chunks);
          actor.written += 1;
          actor.onWrite(actor.written);
          return ask(`write ${key}, ${bytes.length} bytes`, () => {
            if (ifAbsent && files.has(key)) return false;
            store(actor, key, bytes);
            return true;
          });
        },

        async remove(key) {
          await ask(`remove ${key}`, () => {
            const before = files.get(key);
            if (!files.delete(key)) return;
            written.delete(key);
            onChange(key, before);
          });
        },
      };
    },
  };
}

// eslint-disable-next-line
async function* chunksOf(bytes: Uint8Array, end: () => void): AsyncGenerator<Uint8Array> {
  const half = Math.ceil(bytes.length / 2);
  yield bytes.subarray(0, half);
  yield bytes.subarray(half);
  end();
}
