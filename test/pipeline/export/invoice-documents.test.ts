import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { saveDocuments } from '../../../pipeline/export/invoice-documents.js';
import {
  ConfigurationError,
  DataError,
  InterruptedError,
} from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import { ownName } from '../../../pipeline/staging/aside.js';
import { sha256Of } from '../../../pipeline/staging/staging.js';
import { temporaryFolder } from '../../support/cli.js';
import { anyCharacter } from '../../support/texts.js';

const slice = { month: parseMonth('2026-10'), organization: 'oab' };
const wanted = (...invoices: string[]) => invoices.map((invoice) => ({ ...slice, invoice }));
const { signal } = new AbortController();
const textOf = ({ invoice }: { invoice: string }) => Promise.resolve(Buffer.from(`of ${invoice}`));

test('documents are saved with their digest; one that is there is kept and not asked for', async (t) => {
  const folder = await temporaryFolder(t);
  const place = join(folder, '2026-10', 'oab');
  const first = await saveDocuments(folder, wanted('INV-1'), textOf, signal);
  const bytes = Buffer.from('of INV-1');
  t.deepEqual(first, [
    {
      ...slice,
      ...{ invoice: 'INV-1', state: 'saved', file: join(place, 'INV-1.pdf') },
      ...{ bytes: bytes.length, sha256: sha256Of(bytes) },
    },
  ]);
  await writeFile(join(place, 'INV-1.pdf'), 'changed');
  const asked: string[] = [];
  const again = await saveDocuments(
    folder,
    wanted('INV-1', 'INV-2'),
    (one) => {
      asked.push(one.invoice);
      return textOf(one);
    },
    signal,
  );
  t.deepEqual(
    again.map(({ state }) => state),
    ['kept', 'saved'],
  );
  t.deepEqual(asked, ['INV-2']);
  t.is(again[0]?.sha256, sha256Of(Buffer.from('changed')));
  t.is(await readFile(join(place, 'INV-1.pdf'), 'utf8'), 'changed');
  t.deepEqual((await readdir(place)).sort(), ['INV-1.pdf', 'INV-2.pdf']);
});

test('what a killed process left beside a file goes, also where the file is there', async (t) => {
  const folder = await temporaryFolder(t);
  const place = join(folder, '2026-10', 'oab');
  await saveDocuments(folder, wanted('INV-1'), textOf, signal);
  const [machine = '', pid = ''] = ownName.split('.');
  // A process of this number that was not this one, and one that still runs.
  const [left, running] = [pid, process.ppid].map(
    (number) => `.INV-1.pdf.${machine}.${number}.${'0'.repeat(12)}.tmp`,
  );
  for (const name of [left!, running!]) await writeFile(join(place, name), 'half');
  const [again] = await saveDocuments(folder, wanted('INV-1'), textOf, signal);
  t.is(again?.state, 'kept');
  t.deepEqual((await readdir(place)).sort(), [running!, 'INV-1.pdf'].sort());
});

test('one that fails is told by name and leaves nothing, and the others go on', async (t) => {
  const folder = await temporaryFolder(t);
  const place = join(folder, '2026-10', 'oab');
  await mkdir(place, { recursive: true });
  await symlink('/etc/passwd', join(place, 'LINK.pdf'));
  await mkdir(join(place, 'FOLDER.pdf'));
  const found = await saveDocuments(
    folder,
    wanted('A', 'LINK', 'FOLDER', 'B'),
    (one) => (one.invoice === 'A' ? Promise.reject(new DataError('no PDF')) : textOf(one)),
    signal,
  );
  t.deepEqual(
    found.map(({ invoice, state, sha256, error }) => [
      invoice,
      state,
      sha256 === null,
      error?.message,
    ]),
    [
      ['A', 'failed', true, 'no PDF'],
      ['LINK', 'failed', true, 'a link stands where a regular file or a folder belongs'],
      ['FOLDER', 'failed', true, 'a folder has the name of the file'],
      ['B', 'saved', false, undefined],
    ],
  );
  t.deepEqual((await readdir(place)).sort(), ['B.pdf', 'FOLDER.pdf', 'LINK.pdf']);
});

test('no id leaves the folder, and no two documents share a file', async (t) => {
  const ids = ['../../x', '/etc/x', '..', '.hidden', 'a/b', 'a\\b', 'nul\0', 'inv', 'INV', 'é'];
  ids.push(
    'x'.repeat(300),
    'x'.repeat(1024),
    'CON',
    'NUL',
    'LPT1',
    'Inv',
    '\u001b[31m',
    'CON .pdf',
    '-rf',
  );
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(
        fc.oneof(fc.constantFrom(...ids), fc.string({ unit: anyCharacter, minLength: 1 })),
        {
          maxLength: 12,
        },
      ),
      async (invoices) => {
        const folder = await temporaryFolder(t);
        const found = await saveDocuments(folder, wanted(...invoices), textOf, signal);
        const place = join(folder, '2026-10', 'oab');
        t.true(found.every(({ state }) => state === 'saved'));
        const names = found.map(({ file }) => file.slice(place.length + 1));
        t.true(found.every(({ file }) => file.startsWith(`${place}/`)));
        t.true(
          names.every((name) => /^([A-Z0-9][A-Z0-9_-]*|invoice-[0-9a-f]{16})\.pdf$/.test(name)),
        );
        t.false(names.some((name) => /^(con|nul|lpt1)\./i.test(name)));
        t.is(new Set(names.map((name) => name.toLowerCase())).size, invoices.length);
        if (invoices.length > 0) t.deepEqual((await readdir(place)).sort(), [...names].sort());
        t.deepEqual(await readdir(folder), invoices.length > 0 ? ['2026-10'] : []);
      },
    ),
    { numRuns: 25 },
  );
});

test('a document that is saved is found again under its name, whatever the list has beside it', async (t) => {
  const folder = await temporaryFolder(t);
  const all = ['inv', 'INV', 'Inv'];
  const [first] = await saveDocuments(folder, wanted('Inv'), textOf, signal);
  const found = await saveDocuments(folder, wanted(...all), textOf, signal);
  t.deepEqual(
    found.map(({ state }) => state),
    ['saved', 'saved', 'kept'],
  );
  t.is(found[2]?.file, first?.file);
  t.is(new Set(found.map(({ file }) => file.toLowerCase())).size, 3);
});

test('what is listed without an id is not asked for', async (t) => {
  const folder = await temporaryFolder(t);
  const [one] = await saveDocuments(folder, wanted(''), () => t.fail(), signal);
  t.is(one?.state, 'failed');
  t.regex(one?.error?.message ?? '', /without an id/);
});

test('a folder that cannot be is told before AWS is asked; whoever stops ends it all', async (t) => {
  const file = join(await temporaryFolder(t), 'file');
  await writeFile(file, '');
  const error = await t.throwsAsync(
    saveDocuments(file, wanted('A'), () => t.fail(), signal),
    { instanceOf: ConfigurationError },
  );
  t.regex(error.message, /the folder cannot be used \(ENOTDIR|EEXIST\)/);
  await t.throwsAsync(
    saveDocuments(await temporaryFolder(t), wanted('A'), textOf, AbortSignal.abort()),
    { instanceOf: InterruptedError },
  );
});
