import type { JSX } from 'preact';
import type { Month } from '../shared/month.js';
import type { Amount, Compared, Look, Ratio } from './figures.js';

/** How a report writes numbers: thousands and decimals of its locale, words in English. */
export interface Format {
  /** Two decimals, rounded half away from zero: `1,234.50`, `−12.00`. */
  rounded(amount: Amount): string;
  /** The same with its sign, `+12.00`; `0.00` where nothing is left of it. */
  signed(amount: Amount): string;
  /** Whether rounding leaves nothing of it. */
  isZero(amount: Amount): boolean;
  /** Every digit, and the currency: `1,234.4999999 USD`. */
  exact(amount: Amount, currency: string): string;
  /** Rounded, with the currency as the settings want it: `1,234.50 USD`, `$1,234.50`. */
  money(amount: Amount, currency: string): string;
  /** What stands on a bar: `317K`. Of a float: for reading alone. */
  short(amount: number): string;
  /** A tick of an axis: `50K`. */
  tick(amount: number): string;
  /** A quantity or a price: up to eight decimals. */
  plain(decimal: string): string;
  /** `11.8%`. */
  percent(ratio: Ratio): string;
  count(count: number): string;
  /** `1,000%`. */
  readonly thousandPercent: string;
}

const MINUS = '\u2212';

/** Every amount of the figures is a decimal that Intl reads exactly as text, which its types only say of literals. */
const decimal = (text: string): Intl.StringNumericLiteral => text as Intl.StringNumericLiteral;

/** Making them takes longer than a statement has lines. */
const made = new Map<string, Format>();

/**
 * The one format of a look.
 * @throws {RangeError} when the locale is none.
 */
export function formatOf({ locale, currency }: Pick<Look, 'locale' | 'currency'>): Format {
  const key = `${locale} ${currency}`;
  const format = made.get(key) ?? makeFormat(locale, currency);
  made.set(key, format);
  return format;
}

function makeFormat(locale: string, notation: Look['currency']): Format {
  const numbers = (options: Intl.NumberFormatOptions): Intl.NumberFormat =>
    new Intl.NumberFormat(locale, options);
  const two = {
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
    signDisplay: 'negative',
  } as const;
  const rounded = numbers(two);
  const zero = rounded.format(0);
  const signed = numbers({ ...two, signDisplay: 'exceptZero' });
  const exact = numbers({ ...two, maximumFractionDigits: 18 });
  const plain = numbers({ maximumFractionDigits: 8 });
  const percent = numbers({ style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const short = numbers({
    notation: 'compact',
    minimumSignificantDigits: 3,
    maximumSignificantDigits: 3,
  });
  const tick = numbers({ notation: 'compact', maximumSignificantDigits: 3 });
  const count = numbers({});
  const symbols = new Map<string, Intl.NumberFormat>();
  const symbol = (currency: string): Intl.NumberFormat => {
    const known = symbols.get(currency) ?? numbers({ ...two, style: 'currency', currency });
    symbols.set(currency, known);
    return known;
  };
  // The minus is as wide as the plus, and no line breaks after it.
  const minus = (text: string): string => text.replace('-', MINUS);
  return {
    rounded: (amount) => minus(rounded.format(decimal(amount))),
    signed: (amount) => minus(signed.format(decimal(amount))),
    isZero: (amount) => rounded.format(decimal(amount)) === zero,
    exact: (amount, currency) => `${minus(exact.format(decimal(amount)))} ${currency}`,
    money: (amount, currency) =>
      minus(
        notation === 'symbol' && /^[A-Z]{3}$/.test(currency)
          ? symbol(currency).format(decimal(amount))
          : `${rounded.format(decimal(amount))} ${currency}`,
      ),
    short: (amount) => minus(short.format(amount)),
    tick: (amount) => minus(tick.format(amount)),
    plain: (text) => minus(plain.format(decimal(text))),
    percent: (ratio) => minus(percent.format(decimal(ratio))),
    count: (number) => count.format(number),
    thousandPercent: numbers({ style: 'percent' }).format(10),
  };
}

/** What the amounts of one currency are written with. */
export interface Units {
  currency: string;
  format: Format;
}

export interface AmountProps extends Units {
  amount: Amount;
}

/** An amount with two decimals; its exact value is in the title and for the page's script. A negative one says so in a word. */
export function Money({ amount, currency, format }: AmountProps): JSX.Element {
  return (
    <>
      <data value={amount} title={format.exact(amount, currency)}>
        {format.rounded(amount)}
      </data>
      {amount.startsWith('-') && !format.isZero(amount) && <small> credit</small>}
    </>
  );
}

/** How a change reads in a word, so that neither sign nor colour is needed. */
export function directionOf(change: Amount, format: Format): 'up' | 'down' | 'same' {
  if (format.isZero(change)) return 'same';
  return change.startsWith('-') ? 'down' : 'up';
}

/** A change with its sign. Null, where there is not compared, is a dash. */
export function Change({
  amount,
  currency,
  format,
}: Units & { amount: Amount | null }): JSX.Element {
  if (amount === null) return <Nothing />;
  return (
    <data value={amount} title={format.exact(amount, currency)}>
      {format.signed(amount)}
    </data>
  );
}

/** The change in words: `up 4.2%`, `up >1,000%`, `down 3.0%`, `same`, `new`, `gone`. */
export function changeWords(compared: Compared, format: Format): string {
  if (compared.change === null) return '';
  const direction = directionOf(compared.change, format);
  if (direction === 'same') return direction;
  if (Number(compared.previous) === 0) return 'new';
  if (Number(compared.amount) === 0) return 'gone';
  if (compared.ratio === null) return direction;
  const ratio = compared.ratio.replace('-', '');
  // Many times as much as nearly nothing tells nothing in percent.
  if (Number(ratio) >= 10) return `${direction} >${format.thousandPercent}`;
  return `${direction} ${format.percent(ratio)}`;
}

/** The one amount that matters most, with its currency. */
export function Sum({ amount, currency, format }: AmountProps): JSX.Element {
  return (
    <>
      <data value={amount} title={format.exact(amount, currency)}>
        {format.money(amount, currency)}
      </data>
      {amount.startsWith('-') && !format.isZero(amount) && <span class="code"> credit</span>}
    </>
  );
}

/** `+265.10 (up 0.1%)`. */
export function SinceLast({
  compared,
  currency,
  format,
}: Units & { compared: Compared }): JSX.Element {
  if (compared.change === null) return <span class="mute">not compared</span>;
  return (
    <>
      <Change amount={compared.change} currency={currency} format={format} />{' '}
      <span class="mute">({changeWords(compared, format)})</span>
    </>
  );
}

/** What is not there: a dash for the eye, a word for the ear. */
export function Nothing(): JSX.Element {
  return (
    <span class="mute" title="nothing to show" role="img" aria-label="none">
      –
    </span>
  );
}

const monthNames = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

/** `October 2026`. */
export function monthName(month: Month): string {
  return `${monthWord(month)} ${month.slice(0, 4)}`;
}

/** `October`. */
export function monthWord(month: Month): string {
  return monthNames[Number(month.slice(5)) - 1] ?? month;
}

/** `2 November 2026`, of an ISO 8601 day or instant. */
export function dayName(iso: string): string {
  return `${Number(iso.slice(8, 10))} ${monthName(iso.slice(0, 7) as Month)}`;
}

/** `2 November 2026, 06:01 UTC`. */
export function instantName(iso: string): string {
  return `${dayName(iso)}, ${iso.slice(11, 16)} UTC`;
}

/** `1 customer`, `12 customers`. */
export function counted(count: number, one: string, format: Format): string {
  return `${format.count(count)} ${one}${count === 1 ? '' : 's'}`;
}
