import type { JSX } from 'preact';
import type { Month } from '../shared/month.js';
import type { Units } from './amounts.js';
import { Change, changeWords, Money, monthWord, Nothing } from './amounts.js';
import type { Compared } from './figures.js';

/** The columns that tables of page and statement share: the month before, the month, and the change between. */

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
