import test from 'ava';
import fc from 'fast-check';
import { createLog } from '../../../pipeline/shared/log.js';
import {
  jsonDocument,
  keepSecret,
  printable,
  printableLines,
  said,
  withoutSecrets,
} from '../../../pipeline/shared/printable.js';
import { anyCharacter } from '../../support/texts.js';

test('what would move a cursor, break a line or turn its direction is written as an escape', (t) => {
  t.is(
    printable('a\u001b[2Jb\nc\u009b\u202ed\u2028\ud800'),
    'a\\u001b[2Jb\\u000ac\\u009b\\u202ed\\u2028\\ud800',
  );
  t.is(printable('Bäckerei „日本“ 🚀'), 'Bäckerei „日本“ 🚀');
  t.is(printableLines('a\nb\rc'), 'a\nb\\u000dc');
});

test('a document is the same value for a program, and nothing that a terminal obeys', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: anyCharacter }), (text) => {
      const document = jsonDocument({ text });
      t.deepEqual(JSON.parse(document), { text });
      t.is(document, printableLines(document));
    }),
  );
});

test('secrets are cut out in every form in which they may come back, the longer first', (t) => {
  keepSecret('hunter/7"8', 'hunter/7"8-and-more', 'abc', '', undefined);
  t.is(withoutSecrets('x hunter/7"8-and-more y'), 'x *** y');
  t.is(withoutSecrets(encodeURIComponent('hunter/7"8')), '***');
  t.is(withoutSecrets(JSON.stringify('hunter/7"8')), '"***"');
  t.is(withoutSecrets('abc, and nothing else'), 'abc, and nothing else');
  // Cut out before the text is cut short, so that no first half remains.
  t.false(said(`${'x'.repeat(295)} hunter/7"8`).includes('hunt'));
  t.is(said(' a\n\tb\u001b '), 'a b\\u001b');
});

test('the log shows people and its readers neither secrets nor what a terminal obeys', async (t) => {
  keepSecret('hunter-nine');
  const lines: string[] = [];
  const { log } = await createLog({
    level: 'debug',
    file: undefined,
    print: (line) => lines.push(line),
  });
  const cause = new Error('echo hunter-nine \u001b[2J\u009b \\u001b');
  log.warn({ err: new Error('it failed', { cause }), name: 'a\u202eb' }, 'said \u001b]0;x\u0007');
  const text = lines.join('\n');
  t.is(text, printableLines(text));
  t.false(text.includes('hunter'));
  t.regex(text, /said \\u001b\]0;x\\u0007/);
  t.regex(text, /echo \*\*\* \\u001b\[2J\\u009b \\u001b/);
});
