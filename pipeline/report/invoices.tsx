import type { JSX } from 'preact';
import type { InvoicedCurrency, InvoiceState } from '../shared/invoice-comparison.js';
import { isRounding } from '../shared/invoice-comparison.js';
import type { Units } from './amounts.js';
import { Change, Money, Nothing } from './amounts.js';
import type { CurrencyFigures, OrganizationInvoices } from './figures.js';

/** The amounts that stand beside each other, before their difference. */
const AMOUNTS: readonly Column[] = [
  { head: 'Cost', of: ({ cost }) => cost.total },
  { head: 'Without tax', of: ({ cost }) => cost.beforeTax, away: true },
  { head: 'Invoices', of: ({ invoices }) => invoices.total, away: true },
  { head: 'Credit memos', of: ({ creditMemos }) => creditMemos.total, away: true },
];

interface Column {
  head: string;
  of: (compared: InvoicedCurrency) => string | null;
  /** A phone has no room for it: there the cost and the difference say whether the invoices match. */
  away?: true;
}

const classOf = ({ away }: Column): string => (away ? 'n away' : 'n');

/** Cost Explorer's total beside what AWS invoiced, by organization, and what the difference is. */
export function Invoices({
  invoices,
  notes,
  currency,
  format,
}: Units & {
  invoices: NonNullable<CurrencyFigures['invoices']>;
  /** What is to be said of the organizations, whatever the currency. */
  notes: readonly OrganizationInvoices[];
}): JSX.Element {
  const units = { currency, format };
  const { organizations, total } = invoices;
  const explained = organizations.filter(
    ({ compared }) => compared.difference !== null && !isRounding(compared),
  );
  return (
    <section>
      <div class="head">
        <h2>Invoices</h2>
        <span class="mute small">{currency}, beside Cost Explorer’s total</span>
      </div>
      <div class="wide" tabIndex={0} role="region" aria-label="Invoices">
        <table class="list dense">
          <thead>
            <tr>
              <th scope="col">Organization</th>
              <th scope="col">State</th>
              {AMOUNTS.map((amount) => (
                <th key={amount.head} scope="col" class={classOf(amount)}>
                  {amount.head}
                </th>
              ))}
              <th scope="col" class="n">
                Difference
              </th>
            </tr>
          </thead>
          <tbody>
            {organizations.map(({ organization, state, compared }) => (
              <tr key={organization}>
                <th scope="row">{organization}</th>
                <td>
                  <Invoiced state={state} />
                </td>
                <Cells {...units} of={compared} />
              </tr>
            ))}
          </tbody>
          {total !== null && (
            <tfoot>
              <tr>
                <th scope="row">All</th>
                <td />
                <Cells {...units} of={total} />
              </tr>
            </tfoot>
          )}
        </table>
      </div>
      <ul class="mute small invoice-notes">
        {explained.map(({ organization, compared: { parts, rest } }) => (
          <li key={organization}>
            {organization}:{' '}
            {parts.map(({ part, amount }, index) => (
              <span key={part}>
                {index > 0 && ', '}
                {part} <Change {...units} amount={amount} />
              </span>
            ))}
            {!isNothing(rest) && (
              <span>
                {parts.length > 0 && ', '}not explained <Change {...units} amount={rest} />
              </span>
            )}
          </li>
        ))}
        {notes
          .flatMap(({ organization, state, reasons, uncounted }) => [
            ...(state === 'refused' ? [`${organization}: AWS refused its invoices`] : []),
            ...reasons.map((reason) => `${organization}: ${reason}`),
            ...uncounted.map(
              ({ id, reason }) => `${organization}: ${id} does not count: it ${reason}`,
            ),
          ])
          .map((text) => (
            <li key={text}>
              <bdi>{text}</bdi>
            </li>
          ))}
      </ul>
    </section>
  );
}

function isNothing(amount: string | null): boolean {
  return amount === null || amount === '0';
}

function Cells({ of: compared, ...units }: Units & { of: InvoicedCurrency }): JSX.Element {
  return (
    <>
      {AMOUNTS.map((column) => {
        const amount = column.of(compared);
        return (
          <td key={column.head} class={classOf(column)}>
            {amount === null ? <Nothing /> : <Money {...units} amount={amount} />}
          </td>
        );
      })}
      <td class="n">
        <Change {...units} amount={compared.difference} />
      </td>
    </>
  );
}

function Invoiced({ state }: { state: InvoiceState }): JSX.Element {
  const [word, kind] = {
    'invoiced': ['Invoiced', ''],
    'partly': ['Partly', ' provisional'],
    'not yet invoiced': ['Not yet', ' provisional'],
    'none': ['None', ' warn'],
    'refused': ['Refused', ' warn'],
    'not asked': ['Not asked', ''],
  }[state] as [string, string];
  return <span class={`pill${kind}`}>{word}</span>;
}
