import type { ComponentChildren, JSX } from 'preact';
import type { Month } from '../shared/month.js';
import type { Format, Units } from './amounts.js';
import { Change, changeWords, counted, Money, monthWord, Nothing } from './amounts.js';
import { longestOf, RowBar } from './charts.js';
import type { Amount, Bars, Compared, Movers, Ratio } from './figures.js';

/** How a list names what it is about; a statement has no links. */
export type Naming = (one: { name: string; file: string | null }) => ComponentChildren;

/** A part in percent; nothing where a whole has no parts. */
export function Percent({ ratio, format }: { ratio: Ratio | null; format: Format }): JSX.Element {
  return <>{ratio === null ? '' : <data value={ratio}>{format.percent(ratio)}</data>}</>;
}

/** `1 other`, `12 others together`. */
function othersInWords(count: number, format: Format): string {
  return `${counted(count, 'other', format)}${count === 1 ? '' : ' together'}`;
}

/** The largest, each with its bar behind it, so that neither a long name nor its number gives way. */
export function BarList(props: Units & { bars: Bars; label: string; nameOf: Naming }): JSX.Element {
  const { bars, currency, format, label, nameOf } = props;
  const { others } = bars;
  const longest = longestOf(bars.bars.map(({ amount }) => amount));
  return (
    <table class="bars" aria-label={label}>
      <tbody>
        {bars.bars.map((bar) => (
          <tr key={bar.file ?? bar.name}>
            <th scope="row">
              {nameOf(bar)}
              <RowBar amount={bar.amount} longest={longest} />
            </th>
            <td class="n">
              <Money amount={bar.amount} currency={currency} format={format} />
            </td>
            <td class="n mute">
              <Percent ratio={bar.share} format={format} />
            </td>
          </tr>
        ))}
        {others !== null && (
          <tr class="rest">
            <th scope="row">{othersInWords(others.count, format)}</th>
            <td class="n">
              <Money amount={others.amount} currency={currency} format={format} />
            </td>
            <td class="n mute">
              <Percent ratio={others.share} format={format} />
            </td>
          </tr>
        )}
      </tbody>
    </table>
  );
}

/** What went one way, the largest five and all others; one scale serves both ways. */
export function MoverList(
  props: Units & { movers: Movers; way: 'up' | 'down'; of: 'customer' | 'service'; nameOf: Naming },
): JSX.Element {
  const { movers, way, of, currency, format, nameOf } = props;
  const { count, amount, top, others } = movers[way];
  const longest = longestOf(
    [...movers.up.top, ...movers.down.top].map(({ change }) => change ?? '0'),
  );
  return (
    <table class="bars" aria-label={`Largest of ${of}s that went ${way}`}>
      <thead>
        <tr class="group">
          <th scope="col">
            {way === 'up' ? 'Up' : 'Down'} <small>{counted(count, of, format)}</small>
          </th>
          <th scope="col" class="n">
            {count > 0 && <Change amount={amount} currency={currency} format={format} />}
          </th>
          <td />
        </tr>
      </thead>
      <tbody>
        {top.map((mover) => (
          <tr key={mover.file ?? mover.name}>
            <th scope="row">
              {nameOf(mover)}
              <RowBar amount={mover.change ?? '0'} longest={longest} />
            </th>
            <td class="n">
              <Change amount={mover.change} currency={currency} format={format} />
            </td>
            <td class="n mute">{changeWords(mover, format)}</td>
          </tr>
        ))}
        {others !== null && (
          <tr class="rest">
            <th scope="row">{othersInWords(others.count, format)}</th>
            <td class="n">
              <Change amount={others.amount} currency={currency} format={format} />
            </td>
            <td />
          </tr>
        )}
      </tbody>
    </table>
  );
}

/** Few parts of a whole, apart: usage, tax, support, credits, refunds. */
export function Parts(
  props: Units & { parts: readonly { name: string; amount: Amount; share: Ratio | null }[] },
): JSX.Element {
  const { parts, currency, format } = props;
  return (
    <dl class="parts">
      {parts.map(({ name, amount, share }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <b>
              <Money amount={amount} currency={currency} format={format} />
            </b>{' '}
            <small>
              <Percent ratio={share} format={format} />
            </small>
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** The field that searches a table; shown by the script that makes it work. */
export function Find({ table, what }: { table: string; what: string }): JSX.Element {
  return (
    <div class="find" data-finds={table} hidden>
      <input
        type="search"
        aria-label={what}
        placeholder={`${what} (press /)`}
        autocomplete="off"
        spellcheck={false}
      />
      <output class="mute small" />
    </div>
  );
}

/** What the columns that tables of page and statement share tell: the month before, the month, the change between. */
export interface Months {
  month: Month;
  previousMonth: Month;
  /** Whether anything of the table is compared; the month stands alone where nothing is. */
  isCompared: boolean;
}

export function isCompared(rows: readonly Compared[]): boolean {
  return rows.some(({ previous }) => previous !== null);
}

/** @param isSorted whether the rows come with the largest of the month first. */
export function ComparedHeads({
  months,
  isSorted,
}: {
  months: Months;
  isSorted: boolean;
}): JSX.Element {
  return (
    <>
      {months.isCompared && (
        <th scope="col" class="n away">
          {monthWord(months.previousMonth)}
        </th>
      )}
      <th scope="col" class="n" aria-sort={isSorted ? 'descending' : undefined}>
        {monthWord(months.month)}
      </th>
      {months.isCompared && (
        <>
          <th scope="col" class="n">
            Change
          </th>
          <th scope="col" class="n">
            In percent
          </th>
        </>
      )}
    </>
  );
}

export function ComparedCells({
  months,
  compared,
  currency,
  format,
}: Units & { months: Months; compared: Compared }): JSX.Element {
  const words = changeWords(compared, format);
  return (
    <>
      {months.isCompared && (
        <td class="n away">
          {compared.previous === null ? (
            <Nothing />
          ) : (
            <Money amount={compared.previous} currency={currency} format={format} />
          )}
        </td>
      )}
      <td class="n this">
        <Money amount={compared.amount} currency={currency} format={format} />
      </td>
      {months.isCompared && (
        <>
          <td class="n change">
            <Change amount={compared.change} currency={currency} format={format} />
          </td>
          <td class="n mute way">
            {compared.ratio === null ? words : <data value={compared.ratio}>{words}</data>}
          </td>
        </>
      )}
    </>
  );
}
