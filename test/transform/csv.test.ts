import test from 'ava';
import { parse } from 'csv-parse/sync';
import { stringify } from 'csv-stringify/sync';
import fc from 'fast-check';
import { headerRecord, textCell } from '../../transform/csv.js';

const characters = fc.constantFrom(...Array.from('aZ09 .()@+_-=,;"\'\t\r\n|/:é＝\u00a0\uFEFF#'));
const texts = fc.string({ unit: characters, maxLength: 8 });

/**
 * The fields of a record with this cell, as a spreadsheet sees them that splits at `separator` and at any
 * line end: a quote counts at a field's begin, and is a character in mid field.
 */
function fieldsOf(cell: string, separator: string): string[] {
  const fields = [''];
  let text = `300000000001,${cell},N/A\r\n`;
  while (text !== '') {
    const quoted = fields.at(-1) === '' ? /^"((?:[^"]|"")*)(?:"|$)/.exec(text) : null;
    const [taken, value] = quoted === null ? [text[0]!, text[0]!] : [quoted[0], quoted[1]!];
    text = text.slice(taken.length);
    if (quoted === null && [separator, '\r', '\n'].includes(value)) fields.push('');
    else fields.push(fields.pop()! + value.replaceAll('""', '"'));
  }
  return fields;
}

test('a cell reads back as its text, but for apostrophes that keep formulas from running', (t) => {
  fc.assert(
    fc.property(texts, (text) => {
      const records: string[][] = parse(`${textCell(text)},end\r\n`, { record_delimiter: '\r\n' });
      const read = records[0]![0]!;
      t.is(records.length, 1);
      t.is(read.replaceAll("'", ''), text.replaceAll("'", ''));
      if (!/[=+\-@＝＋－＠\t\r\n]/.test(text)) t.is(read, text);
    }),
    { numRuns: 5000 },
  );
});

test('a cell is what csv-stringify makes of it, also where it is not asked', (t) => {
  fc.assert(
    fc.property(texts, (text) => {
      const cell = textCell(text);
      const records: string[][] = parse(cell, { record_delimiter: '\r\n' });
      const read = records[0]?.[0] ?? '';
      const isQuoted = cell.startsWith('"');
      t.is(
        cell,
        stringify([[read]], {
          record_delimiter: '\r\n',
          quote_record_delimiter: true,
          quoted: isQuoted,
          eof: false,
        }),
      );
      // The library quotes only what has to be; here anything beyond plain characters is quoted too.
      t.is(isQuoted, !/^(?:[A-Za-z0-9](?:[\w .()@+/:-]*[\w.()@+/:-])?)?$/.test(text), cell);
    }),
    { numRuns: 5000 },
  );
});

test('no field begins a formula, wherever a spreadsheet splits', (t) => {
  fc.assert(
    fc.property(texts, fc.constantFrom(',', ';', '\t', '|'), (text, separator) => {
      for (const field of fieldsOf(textCell(text), separator))
        t.notRegex(
          field.replaceAll(/["\s]/g, ''),
          /^[=+\-@＝＋－＠]/,
          JSON.stringify([text, field]),
        );
    }),
    { numRuns: 10_000 },
  );
});

test('separators of other lands, blanks at an end, quotes and lone line ends are quoted', (t) => {
  for (const [text, cell] of [
    ['Left, Ltd', '"Left, Ltd"'],
    ['a;b', '"a;b"'],
    ['a\tb', '"a\tb"'],
    ['a|b', '"a|b"'],
    ['a\rb', '"a\rb"'],
    ['a\nb', '"a\nb"'],
    [' a', '" a"'],
    ['a ', '"a "'],
    ["it's", `"it's"`],
    ['say "x"', '"say ""x"""'],
    ['#1', '"#1"'],
    ['a;=1+1;b', `"a;'=1+1;b"`],
    ['a; =1+1', `"a;' =1+1"`],
    ['a\t"=1+1"', `"a\t'""=1+1"""`],
    ['a\n\n-1', `"a\n\n'-1"`],
    [' =1+1', `"' =1+1"`],
    ['=1;=1', `"'=1;'=1"`],
    // As they are: nothing splits or cuts there.
    ['USE1-BoxUsage:m5.large', 'USE1-BoxUsage:m5.large'],
    ['Amazon Elastic Compute Cloud - Compute', 'Amazon Elastic Compute Cloud - Compute'],
    ['N/A', 'N/A'],
    ['a=b', '"a=b"'],
    ['', ''],
  ] as const)
    t.is(textCell(text), cell);
});

test("every name of the header is quoted, so that who guesses the file's form sees the quote", (t) => {
  t.is(headerRecord(['Reference', 'a "b"']), '"Reference","a ""b"""\r\n');
});
