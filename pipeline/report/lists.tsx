import type { ComponentChildren, JSX } from 'preact';
import type { Format } from './amounts.js';
import { Change, changeWords, counted, Money } from './amounts.js';
import { extentOf, RowBar } from './charts.js';
import type { Amount, Bars, Movers, Ratio } from './figures.js';

/** What lists of one currency write their numbers with. */
export interface Units {
  currency: string;
  format: Format;
}

/** How a list names what it is about; a statement has no links. */
export type Naming = (one: { name: string; file: string | null }) => ComponentChildren;

/** A part in percent; nothing where a whole has no parts. */
export function Percent({ ratio, format }: { ratio: Ratio | null; format: Format }): JSX.Element {
  return <>{ratio === null ? '' : <data value={ratio}>{format.percent(ratio)}</data>}</>;
}

/** The largest, each with a bar below its line, so that neither a long name nor its number gives way. */
export function BarList(props: Units & { bars: Bars; label: string; nameOf: Naming }): JSX.Element {
  const { bars, currency, format, label, nameOf } = props;
  const { others } = bars;
  const extent = extentOf([...bars.bars, ...(others === null ? [] : [others])].map(({ amount }) => amount));
  return (
    <table class="bars" aria-label={label}>
      <tbody>
        {bars.bars.map((bar) => (
          <tr key={bar.file ?? bar.name}>
            <th scope="row">
              {nameOf(bar)}
              <RowBar amount={bar.amount} extent={extent} step={1} />
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
            <th scope="row">
              {counted(others.count, 'other', format)} together
              <RowBar amount={others.amount} extent={extent} step={0} />
            </th>
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
  props: Units & { movers: Movers; way: 'up' | 'down'; label: string; nameOf: Naming },
): JSX.Element {
  const { movers, way, currency, format, label, nameOf } = props;
  const { count, amount, top, others } = movers[way];
  const lengthOf = (change: Amount | null): Amount => (change ?? '0').replace('-', '');
  const longest = extentOf([...movers.up.top, ...movers.down.top].map(({ change }) => lengthOf(change)));
  return (
    <table class="bars" aria-label={label}>
      <thead>
        <tr class="group">
          <th scope="col">
            {way === 'up' ? 'Up' : 'Down'} <span class="mute">{format.count(count)}</span>
          </th>
          <th scope="col" class="n">
            {count > 0 && <Change amount={amount} currency={currency} format={format} />}
          </th>
          <th scope="col" class="n mute">
            {way}
          </th>
        </tr>
      </thead>
      <tbody>
        {top.map((mover) => (
          <tr key={mover.file ?? mover.name}>
            <th scope="row">
              {nameOf(mover)}
              <RowBar amount={lengthOf(mover.change)} extent={longest} step={way === 'up' ? 1 : 3} />
            </th>
            <td class="n">
              <Change amount={mover.change} currency={currency} format={format} />
            </td>
            <td class="n mute">{changeWords(mover, format)}</td>
          </tr>
        ))}
        {others !== null && (
          <tr class="rest">
            <th scope="row">{counted(others.count, 'other', format)} together</th>
            <td class="n">
              <Change amount={others.amount} currency={currency} format={format} />
            </td>
            <td class="n mute">{way}</td>
          </tr>
        )}
      </tbody>
    </table>
  );
}

/** The field that searches a table; shown by the script that makes it work. */
export function Find({ table, what }: { table: string; what: string }): JSX.Element {
  return (
    <div class="find" data-finds={table} hidden>
      <input type="search" aria-label={what} placeholder={`${what} (press /)`} autocomplete="off" spellcheck={false} />
      <output class="mute small" />
    </div>
  );
}

