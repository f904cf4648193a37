import type { JSX } from 'preact';
import type { Units } from './amounts.js';
import { counted, Money } from './amounts.js';
import type { DirectoryProps } from './directory.js';
import { CustomerName } from './directory.js';
import type { CurrencyFigures, CustomerFigures, Margin, MarginGap, Margins } from './figures.js';
import { Find, Percent } from './lists.js';
import { isLater } from './script.js';

/** Most gaps that a page tells: of a view of other accounts each row of the month is one. */
const MOST_GAPS = 1000;

/** The page's customers by their statements. */
type Known = ReadonlyMap<string, CustomerFigures>;

/** What the month earns, customer by customer, and what stands on one side only. Never on a statement. */
export function Earnings({
  section,
  margins,
  number,
  format,
}: Pick<DirectoryProps, 'number' | 'format'> & {
  section: Pick<CurrencyFigures, 'currency' | 'customers'>;
  margins: Margins;
}): JSX.Element {
  const { currency } = section;
  const units = { currency, format };
  const id = `margins-${number}`;
  const known: Known = new Map(section.customers.map((one) => [one.file, one]));
  const { customers, organizations, total, without, gaps } = margins;
  return (
    <section aria-labelledby={`${id}-title`}>
      <div class="head">
        <h2 id={`${id}-title`}>Margin</h2>
        <span class="mute small">
          {currency}; what was billed less what it costs by the organization’s cost view
        </span>
      </div>
      {without.map(({ organization, refused }) => (
        <p key={organization} class="mute small">
          Nothing of {organization} is in these sums:{' '}
          {refused === null ? 'it has no cost view in this month.' : `${refused}.`}
        </p>
      ))}
      <Find table={id} what="Find a margin by customer" />
      <div>
        <table id={id} class="list sortable names" aria-labelledby={`${id}-title`}>
          <thead>
            <tr>
              <th scope="col">Customer</th>
              <th scope="col" class="n" aria-sort="descending">
                Billed
              </th>
              <th scope="col" class="n">
                Cost
              </th>
              <th scope="col" class="n">
                Margin
              </th>
              <th scope="col" class="n">
                In percent
              </th>
            </tr>
          </thead>
          <tbody>
            {customers.map((customer, row) => (
              <tr key={customer.file} class={isLater(row, customers.length) ? 'later' : undefined}>
                <th scope="row">
                  <Whose one={customer} known={known} />
                </th>
                <MarginCells {...units} margin={customer} />
              </tr>
            ))}
          </tbody>
          <tfoot>
            {organizations.length > 1 &&
              organizations.map((one) => (
                <tr key={one.organization}>
                  <th scope="row">{one.organization}</th>
                  <MarginCells {...units} margin={one} />
                </tr>
              ))}
            <tr>
              <th scope="row">Total</th>
              <MarginCells {...units} margin={total} />
            </tr>
          </tfoot>
        </table>
      </div>
      {gaps.length > 0 && <Gaps {...units} known={known} id={id} gaps={gaps} />}
    </section>
  );
}

/** A customer by name and id, since several may have one name; with the way to its statement. */
function Whose({
  one: { id, name, file },
  known,
}: {
  one: Pick<MarginGap, 'id' | 'name' | 'file'>;
  known: Known;
}): JSX.Element {
  const customer = known.get(file);
  if (customer !== undefined) return <CustomerName customer={customer} />;
  return (
    <>
      <bdi>{name}</bdi> <span class="id">{id}</span>
    </>
  );
}

/** Of the amounts of a row the one that a phone sets beside the name. */
const MARGIN = 2;

function MarginCells({
  margin: { amount, cost, margin, ratio },
  currency,
  format,
}: Units & { margin: Margin }): JSX.Element {
  return (
    <>
      {[amount, cost, margin].map((one, index) => (
        <td key={index} class={index === MARGIN ? 'n this' : 'n'}>
          <Money amount={one} currency={currency} format={format} />
        </td>
      ))}
      <td class="n mute">
        <Percent ratio={ratio} format={format} />
      </td>
    </>
  );
}

function Gaps({
  known,
  id,
  gaps,
  currency,
  format,
}: Units & {
  known: Known;
  id: string;
  gaps: readonly MarginGap[];
}): JSX.Element {
  const told = gaps.slice(0, MOST_GAPS);
  return (
    <>
      <h3 class="gaps-title" id={`${id}-gaps-title`}>
        On one side only: {counted(gaps.length, 'service', format)}
      </h3>
      <div>
        <table id={`${id}-gaps`} class="list sortable names" aria-labelledby={`${id}-gaps-title`}>
          <thead>
            <tr>
              <th scope="col">Customer</th>
              <th scope="col">Service</th>
              <th scope="col">What is there</th>
              <th scope="col" class="n" aria-sort="descending">
                Amount
              </th>
            </tr>
          </thead>
          <tbody>
            {told.map(({ service, side, amount, ...one }, row) => (
              <tr
                key={`${one.file} ${side} ${service}`}
                class={isLater(row, told.length) ? 'later' : undefined}
              >
                <th scope="row">
                  <Whose one={one} known={known} />
                </th>
                <td>
                  <bdi>{service}</bdi>
                </td>
                <td>{side === 'bill' ? 'billed, without a cost' : 'cost, not billed'}</td>
                <td class="n this">
                  <Money amount={amount} currency={currency} format={format} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {told.length < gaps.length && (
        <p class="mute small">
          These are the largest {format.count(told.length)}; all stand in the workbook, sheet Margin
          gaps.
        </p>
      )}
    </>
  );
}
