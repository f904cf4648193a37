import { isManifestKey, monthFolder } from './layout.js';
import type { StagedFile, Staging } from './staging.js';
import { readAll } from './staging.js';

/** Months from which on a tree is listed as a whole: in a bucket a page of 1,000 files costs what one of three does. */
const MANY_MONTHS = 12;

/** Manifests that are remembered: what is asked for again is asked for by the same slice, or the next. */
const REMEMBERED = 64;

/**
 * A staging area for who only looks: each folder of a month is listed once, whoever asks for whatever part of it, and
 * a manifest that several ask for one after the other is read once. What is asked of one organization after the
 * other, of one file after the other, would otherwise be a listing each.
 * It shows what was there when a folder was first asked for, so that it is not for who holds a lease, and has to
 * see what others have left.
 * @param months how many are going to be looked at.
 */
export function listedOnce(staging: Staging, months: number): Staging {
  const listings = new Map<string, Promise<Listing>>();
  const listing = (prefix: string): Promise<Listing> => {
    const found = listings.get(prefix) ?? byFolder(staging.list(prefix));
    listings.set(prefix, found);
    return found;
  };
  /** The newest last. */
  const manifests = new Map<string, Promise<Uint8Array | undefined>>();
  return {
    ...staging,
    async *list(prefix) {
      const folder = monthFolder(prefix);
      if (folder === undefined) {
        yield* (await listing(prefix)).all;
        return;
      }
      const tree = folder.slice(0, folder.indexOf('month='));
      const whole = listings.get(tree) ?? (months > MANY_MONTHS ? listing(tree) : undefined);
      const files = (await (whole ?? listing(folder))).folders.get(folder) ?? [];
      for (const file of files) if (file.key.startsWith(prefix)) yield file;
    },
    async read(key) {
      if (!isManifestKey(key)) return staging.read(key);
      const found = manifests.get(key) ?? staging.read(key).then((file) => file && readAll(file));
      manifests.delete(key);
      manifests.set(key, found);
      const [oldest] = manifests.keys();
      if (manifests.size > REMEMBERED && oldest !== undefined) manifests.delete(oldest);
      const content = await found;
      return content && once(content);
    },
  };
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(content);
}

/** Files as they were listed, and by the month's folder that they lie in; those in none are in none. */
interface Listing {
  all: readonly StagedFile[];
  folders: ReadonlyMap<string, readonly StagedFile[]>;
}

async function byFolder(files: AsyncIterable<StagedFile>): Promise<Listing> {
  const all: StagedFile[] = [];
  const folders = new Map<string, StagedFile[]>();
  for await (const file of files) {
    all.push(file);
    const name = monthFolder(file.key);
    if (name === undefined) continue;
    const folder = folders.get(name);
    if (folder === undefined) folders.set(name, [file]);
    else folder.push(file);
  }
  return { all, folders };
}
