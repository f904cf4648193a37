import test from 'ava';
import fc from 'fast-check';
import stringWidth from 'string-width';
import { formatAmount, parseAmount } from '../../../pipeline/shared/money.js';
import { amountColumn, formatTable, shortAmount } from '../../../pipeline/shared/table.js';

test('columns stand under each other as a terminal shows them: wide characters, marks, emoji', (t) => {
  const rows = [
    ['oab', '1'],
    ['株式会社', '22'],
    ['شَرِكَة', '333'],
    ['👩‍👩‍👧 co', '4'],
    ['a\u001b[2Jb\u202e', '5'],
  ];
  const [head = '', ...lines] = formatTable(['name', 'rows'], rows, ['rows']).split('\n');
  t.is(stringWidth(head), stringWidth(lines[0] ?? ''));
  for (const line of lines) t.is(stringWidth(line), stringWidth(head));
  t.true(lines[4]?.startsWith('a\\u001b[2Jb\\u202e '));
});

test('a narrow table shortens the names that may be shortened, never a number, and fits', (t) => {
  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 });
  const digits = fc.bigInt({ min: 0n, max: 10n ** 18n }).map(String);
  fc.assert(
    fc.property(fc.array(fc.tuple(name, digits), { minLength: 1 }), (rows) => {
      const table = formatTable(['name', 'rows'], rows, ['rows'], { names: ['name'], width: 40 });
      const [, ...lines] = table.split('\n');
      for (const [index, line] of lines.entries()) {
        if (stringWidth(line) > 40) return false;
        const [, number = ''] = rows[index] ?? [];
        if (!line.endsWith(` ${number}`)) return false;
      }
      return lines.length === rows.length;
    }),
  );
  const rows = [['a long name of somebody', '123456789012345678']];
  t.is(
    formatTable(['name', 'rows'], rows, ['rows'], { names: ['name'], width: 32 }),
    'name                        rows\na long name…  123456789012345678',
  );
  t.is(formatTable(['name', 'rows'], rows, ['rows'], { width: 32 }).split('\n').length, 2);
});

test('amounts have two decimals, rounded half to even, and only nought is 0.00', (t) => {
  for (const [exact, short] of [
    ['0', '0.00'],
    ['12', '12.00'],
    ['0.125', '0.12'],
    ['0.135', '0.14'],
    ['-0.015', '-0.02'],
    ['99999999999999999999.999', '100000000000000000000.00'],
    ['-0.000000001', '-0.000000001'],
    ['0.005', '0.005'],
    ['0.006', '0.01'],
  ] as const)
    t.is(shortAmount(exact), short);
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), (units) => {
      const short = parseAmount(shortAmount(formatAmount(units))).units;
      const off = short > units ? short - units : units - short;
      return off * 2n <= 10n ** 16n && (short === 0n) === (units === 0n);
    }),
  );
});

test('one currency is said once, several in every cell', (t) => {
  t.deepEqual(amountColumn('amount', [{ USD: '1.5' }, undefined, {}]), {
    head: 'amount USD',
    cells: ['1.50', '', '0.00'],
  });
  t.deepEqual(amountColumn('amount', [{ USD: '1.5', CNY: '2' }, { CNY: '3' }]), {
    head: 'amount',
    cells: ['1.50 USD, 2.00 CNY', '3.00 CNY'],
  });
});
