import test from 'ava';
import { stringify } from 'csv-stringify/sync';
import fc from 'fast-check';
import { textCell } from '../../transform/csv-cells.js';

const characters = fc.constantFrom(...Array.from('aZ09 .()@+_-=,;"\'\t\r\n|é＝'));

test('a cell is what csv-stringify makes of it, also where it is not asked', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: characters, maxLength: 6 }), (text) => {
      const options = { escape_formulas: true, record_delimiter: '\r\n', eof: false };
      const defused = text.startsWith('\n') ? `'${text}` : text;
      t.is(textCell(text), stringify([[defused]], { ...options, quote_record_delimiter: true }));
    }),
    { numRuns: 3000 },
  );
});
