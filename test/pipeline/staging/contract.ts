import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { DataError } from '../../../pipeline/shared/errors.js';
import type { StagedFile, Staging } from '../../../pipeline/staging/staging.js';
import { openWriter, readAll } from '../../../pipeline/staging/staging.js';

/** What the contract asks of whoever runs its tests: AVA, and the suite of real servers. */
export interface ContractContext {
  is: (actual: unknown, expected: unknown) => unknown;
  true: (actual: unknown) => unknown;
  false: (actual: unknown) => unknown;
  deepEqual: (actual: unknown, expected: unknown) => unknown;
  notDeepEqual: (actual: unknown, expected: unknown) => unknown;
  throwsAsync: (
    work: Promise<unknown>,
    expected?: { instanceOf: typeof DataError },
    message?: string,
  ) => Promise<unknown>;
  teardown: (end: () => Promise<void>) => void;
}
type ContractTest = (title: string, run: (t: ContractContext) => Promise<void>) => void;

/** Opens an empty staging area of its own for a test. */
export type OpenStaging = (t: ContractContext) => Promise<Staging>;

const MIB = 1024 * 1024;

/** Declares the tests that every driver has to pass. */
export function stagingContract(test: ContractTest, open: OpenStaging): void {
  test('what is written is read back, whatever its length and its pieces', async (t) => {
    const staging = await open(t);
    for (const length of [0, 1, 1000, 262_143, 262_144, 262_145, 700_001]) {
      const content = noise(length);
      t.true(await staging.write(`whole-${length}`, content));
      t.true(await staging.write(`pieces-${length}`, pieces(content, 4097)));
      t.true(same(await bytesAt(staging, `whole-${length}`), content));
      t.true(same(await bytesAt(staging, `pieces-${length}`), content));
    }
  });

  test('a file of many megabytes arrives whole', async (t) => {
    const staging = await open(t);
    const content = noise(18 * MIB + 3);
    t.true(await staging.write('long/file', pieces(content, 777_777)));
    t.true(same(await bytesAt(staging, 'long/file'), content));
    t.true(await staging.write('long/file', content));
    t.true(same(await bytesAt(staging, 'long/file'), content));
    t.deepEqual(await listed(staging, ''), [{ key: 'long/file', size: content.length }]);
  });

  test('empty pieces and no piece at all change nothing', async (t) => {
    const staging = await open(t);
    const nothing = new Uint8Array();
    await staging.write('none', each([]));
    await staging.write('empty', each([nothing, nothing]));
    await staging.write('between', each([nothing, Buffer.from('a'), nothing, Buffer.from('b')]));
    t.is(await textAt(staging, 'none'), '');
    t.is(await textAt(staging, 'empty'), '');
    t.is(await textAt(staging, 'between'), 'ab');
  });

  test('what is not there is undefined, and a folder is not a file', async (t) => {
    const staging = await open(t);
    t.is(await staging.read('missing'), undefined);
    await staging.write('folder/file', Buffer.from('x'));
    t.is(await staging.read('folder'), undefined);
    t.is(await staging.read('folder/other'), undefined);
    t.is(await staging.read('folder/file/below'), undefined);
    t.is(await textAt(staging, 'folder/file'), 'x');
  });

  test('a write replaces the file; a reader keeps the version that it began with', async (t) => {
    const staging = await open(t);
    const [before, after] = [noise(2 * MIB, 'before'), noise(3 * MIB, 'after')];
    await staging.write('file', before);
    const reader = await staging.read('file');
    await staging.write('file', after);
    t.true(same(await readAll(reader!), before));
    t.true(same(await bytesAt(staging, 'file'), after));
  });

  test('readers beside writers see whole files only', async (t) => {
    const staging = await open(t);
    const versions = Array.from({ length: 6 }, (_, index) => noise(400_000 + index, `v${index}`));
    await staging.write('file', versions[0]!);
    const readers = async (): Promise<boolean> => {
      for (let turn = 0; turn < 12; turn += 1) {
        const found = await bytesAt(staging, 'file');
        if (!versions.some((version) => same(found, version))) return false;
      }
      return true;
    };
    const writers = versions.map((version) => staging.write('file', pieces(version, 50_000)));
    const seen = await Promise.all([readers(), readers()]);
    t.deepEqual(seen, [true, true]);
    t.true((await Promise.all(writers)).every((written) => written));
  });

  test('ifAbsent writes a file that is not there, and leaves one that is', async (t) => {
    const staging = await open(t);
    t.true(await staging.write('lease', Buffer.from('first'), { ifAbsent: true }));
    t.false(await staging.write('lease', Buffer.from('second'), { ifAbsent: true }));
    t.false(await staging.write('lease', noise(9 * MIB), { ifAbsent: true }));
    t.is(await textAt(staging, 'lease'), 'first');
    await staging.remove('lease');
    t.true(await staging.write('lease', noise(9 * MIB), { ifAbsent: true }));
    t.deepEqual(await listed(staging, ''), [{ key: 'lease', size: 9 * MIB }]);
  });

  test('of many that write with ifAbsent at once, one does', async (t) => {
    const staging = await open(t);
    for (let round = 0; round < 5; round += 1) {
      const names = Array.from({ length: 8 }, (_, index) => `holder ${index} of ${round}`);
      const results = await Promise.all(
        names.map((name) => staging.write(`lease-${round}`, Buffer.from(name), { ifAbsent: true })),
      );
      t.is(results.filter((won) => won).length, 1);
      t.is(await textAt(staging, `lease-${round}`), names[results.indexOf(true)]!);
    }
  });

  test('content that throws leaves nothing behind, and its error comes out unchanged', async (t) => {
    const staging = await open(t);
    const failure = Object.assign(new Error('the source broke'), {
      code: 'ECONNRESET',
      syscall: 'read',
    });
    for (const length of [0, 1000, 17 * MIB]) {
      const broken = (): AsyncIterable<Uint8Array> => breaking(noise(length), failure);
      t.is(await t.throwsAsync(staging.write('new', broken())), failure);
      t.is(await staging.read('new'), undefined);
      await staging.write('old', Buffer.from('old'));
      t.is(await t.throwsAsync(staging.write('old', broken())), failure);
      t.is(await textAt(staging, 'old'), 'old');
    }
    t.deepEqual(await listed(staging, ''), [{ key: 'old', size: 3 }]);
  });

  test('a file is invisible until its last byte is written', async (t) => {
    const staging = await open(t);
    const seen: unknown[] = [];
    const watched = async function* (): AsyncGenerator<Uint8Array> {
      for (let piece = 0; piece < 10; piece += 1) {
        yield noise(MIB, `piece ${piece}`);
        seen.push(await staging.read('file'), ...(await listed(staging, '')));
      }
    };
    await staging.write('file', watched());
    t.deepEqual(seen, Array(10).fill(undefined));
    t.deepEqual(await listed(staging, ''), [{ key: 'file', size: 10 * MIB }]);
  });

  test('remove takes one file away; one that is not there is no error', async (t) => {
    const staging = await open(t);
    await staging.write('a/one', Buffer.from('1'));
    await staging.write('a/two', Buffer.from('2'));
    await staging.remove('a/one');
    await staging.remove('a/one');
    await staging.remove('a');
    await staging.remove('a/two/three');
    await staging.remove('b/nothing');
    t.is(await staging.read('a/one'), undefined);
    t.deepEqual(await listed(staging, ''), [{ key: 'a/two', size: 1 }]);
  });

  test('list gives every file below a prefix, which may end within a name', async (t) => {
    const staging = await open(t);
    t.deepEqual(await listed(staging, ''), []);
    t.deepEqual(await listed(staging, 'raw/'), []);
    const keys = [
      'raw/month=2026-09/a/x',
      'raw/month=2026-10/a/x',
      'raw/month=2026-10/ab/x',
      'top',
    ];
    for (const key of keys) await staging.write(key, Buffer.from(key));
    t.deepEqual(await keysOf(staging, ''), keys);
    t.deepEqual(await keysOf(staging, 'raw/'), keys.slice(0, 3));
    t.deepEqual(await keysOf(staging, 'raw'), keys.slice(0, 3));
    t.deepEqual(await keysOf(staging, 'raw/month=2026-10/'), keys.slice(1, 3));
    t.deepEqual(await keysOf(staging, 'raw/month=2026-10/a'), keys.slice(1, 3));
    t.deepEqual(await keysOf(staging, 'raw/month=2026-10/a/'), [keys[1]]);
    t.deepEqual(await keysOf(staging, 'top'), ['top']);
    t.deepEqual(await keysOf(staging, 'top/'), []);
    t.deepEqual(await keysOf(staging, 'top/of'), []);
  });

  test('names beyond 16 bits come last, though JavaScript sorts them earlier', async (t) => {
    const staging = await open(t);
    const keys = ['\u{ffee}.a', '\u{ffee}/b', '\u{1f600}.a', '\u{1f600}/b'];
    for (const key of keys.toReversed()) await staging.write(key, Buffer.from(key));
    t.deepEqual(await keysOf(staging, ''), keys);
    t.notDeepEqual(keys, keys.toSorted());
  });

  test('list is in the order of UTF-8 bytes, for any names', async (t) => {
    const character = fc.constantFrom(...Array.from('abZ019-_=.~ +%&<>"\'é漢\u{ffee}\u{1f600}'));
    const segment = fc.string({ unit: character, minLength: 1, maxLength: 4 });
    // A file's name ends with a dot and a folder's with a tilde, so that no name is both.
    const key = fc
      .tuple(fc.array(segment, { maxLength: 2 }), segment)
      .map(([folders, file]) => [...folders.map((name) => `${name}~`), `_${file}.`].join('/'));
    const area = fc.uniqueArray(key, { minLength: 1, maxLength: 12 });
    const property = fc.asyncProperty(area, fc.nat(), fc.nat(), async (keys, pick, length) => {
      const staging = await open(t);
      await Promise.all(keys.map((name) => staging.write(name, Buffer.from(name))));
      const picked = keys[pick % keys.length]!;
      const prefix = Array.from(picked)
        .slice(0, length % 8)
        .join('');
      const expected = keys
        .filter((name) => name.startsWith(prefix))
        .map((name) => ({ key: name, size: Buffer.byteLength(name) }))
        .sort((a, b) => Buffer.from(a.key).compare(Buffer.from(b.key)));
      t.deepEqual(await listed(staging, prefix), expected);
      t.is(await textAt(staging, picked), picked);
    });
    await fc.assert(property, { numRuns: 25 });
  });

  test('a key that would leave the area is refused', async (t) => {
    const staging = await open(t);
    const hostile = [
      '',
      '/',
      '/etc/passwd',
      '..',
      '../outside',
      'a/../../outside',
      'a/./b',
      'a//b',
      'a/',
      'a\\b',
      'a\0b',
      'a\nb',
      'half \ud800 character',
      '.tmp/file',
    ];
    for (const key of hostile) {
      await t.throwsAsync(staging.read(key), { instanceOf: DataError }, key);
      await t.throwsAsync(staging.write(key, Buffer.from('x')), { instanceOf: DataError }, key);
      await t.throwsAsync(staging.remove(key), { instanceOf: DataError }, key);
    }
    for (const prefix of ['../', 'a/../', '/', './', 'a//', '.tmp/']) {
      await t.throwsAsync(listed(staging, prefix), { instanceOf: DataError }, prefix);
    }
    t.deepEqual(await listed(staging, ''), []);
  });

  test('a writer hands over piece by piece and knows length and hash', async (t) => {
    const staging = await open(t);
    const content = noise(10 * MIB + 5);
    const writer = openWriter(staging, 'file');
    for await (const piece of pieces(content, 300_000)) await writer.write(piece);
    t.is(await staging.read('file'), undefined);
    t.deepEqual(await writer.close(), {
      key: 'file',
      bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    });
    t.true(same(await bytesAt(staging, 'file'), content));
  });

  test('a writer that is given up leaves nothing', async (t) => {
    const staging = await open(t);
    const writer = openWriter(staging, 'file');
    for await (const piece of pieces(noise(9 * MIB), 1_000_000)) await writer.write(piece);
    await writer.abort();
    await writer.abort();
    await t.throwsAsync(writer.write(Buffer.from('more')));
    await t.throwsAsync(writer.close());
    t.is(await staging.read('file'), undefined);
    t.deepEqual(await listed(staging, ''), []);
  });

  test('a writer whose file is refused at once says so at the first piece', async (t) => {
    const staging = await open(t);
    const writer = openWriter(staging, '../outside');
    await t.throwsAsync(writer.write(Buffer.from('x')), { instanceOf: DataError });
    await t.throwsAsync(writer.close(), { instanceOf: DataError });
    await writer.abort();
  });
}

/** Bytes that look random, always the same for a length and a seed. */
export function noise(length: number, seed = 'noise'): Buffer {
  const bytes = Buffer.alloc(length);
  let state = createHash('sha256').update(seed).digest().readUInt32LE();
  for (let at = 0; at + 4 <= length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

export async function* pieces(content: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += length) {
    yield await Promise.resolve(content.subarray(at, at + length));
  }
}

export async function* breaking(content: Uint8Array, failure: Error): AsyncGenerator<Uint8Array> {
  yield* pieces(content, 1_000_000);
  throw failure;
}

async function* each(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}

/** Compares without the test runner's character-by-character difference of megabytes. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export async function bytesAt(staging: Staging, key: string): Promise<Uint8Array> {
  const content = await staging.read(key);
  if (content === undefined) throw new Error(`${key} is not there`);
  return readAll(content);
}

export async function textAt(staging: Staging, key: string): Promise<string> {
  return Buffer.from(await bytesAt(staging, key)).toString();
}

export async function listed(staging: Staging, prefix: string): Promise<StagedFile[]> {
  const files: StagedFile[] = [];
  for await (const file of staging.list(prefix)) files.push(file);
  return files;
}

export async function keysOf(staging: Staging, prefix: string): Promise<string[]> {
  return (await listed(staging, prefix)).map(({ key }) => key);
}
