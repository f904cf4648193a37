import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { printPages } from '../../../pipeline/report/pdf.js';
import { ConfigurationError, InterruptedError } from '../../../pipeline/shared/errors.js';
import { installPackages } from '../../support/debian.js';
import { setEnvironment } from '../../support/extract.js';
import { temporaryFolder } from '../../support/load-fixture.js';

const page = (text: string): string =>
  `<!doctype html><title>${text}</title><h1>${text}</h1><div style="break-before: page">two</div>`;
const { signal } = new AbortController();

test.serial('every page becomes a PDF beside it, by one browser', async (t) => {
  t.is(await installPackages('command -v chromium', 'chromium'), undefined);
  const folder = await temporaryFolder(t);
  for (const name of ['index', 'other']) await writeFile(join(folder, `${name}.html`), page(name));
  t.deepEqual(await printPages(folder, ['index.html', 'other.html'], signal), [
    ...['index.pdf', 'other.pdf'],
  ]);
  for (const name of ['index.pdf', 'other.pdf']) {
    const pdf = await readFile(join(folder, name), 'latin1');
    t.regex(pdf, /^%PDF-1\.\d/);
    t.is(pdf.match(/\/Type \/Page\b(?!s)/g)?.length, 2, name);
    t.regex(pdf, /%%EOF\s*$/);
  }
  await t.throwsAsync(printPages(folder, ['index.html'], AbortSignal.abort()), {
    instanceOf: InterruptedError,
  });
});

test.serial('without a browser, a sentence says what to install', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'index.html'), page('none'));
  const refused = async (path: string, message: RegExp): Promise<void> => {
    setEnvironment(t, { CHROMIUM_PATH: path });
    const error = await t.throwsAsync(printPages(folder, ['index.html'], signal), {
      ...{ instanceOf: ConfigurationError, message },
    });
    t.regex(error.next ?? '', /CHROMIUM_PATH/);
  };
  await refused(join(folder, 'nowhere'), /the browser that CHROMIUM_PATH names, and there is none/);
  // A program that is there, and no browser.
  await refused('/bin/true', /^the browser cannot print/);
  t.deepEqual(await readdir(folder), ['index.html']);
});
