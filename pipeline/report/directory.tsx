import type { JSX } from 'preact';
import type { Format } from './amounts.js';
import { Change, changeWords, Money, monthWord, Nothing } from './amounts.js';
import type { CurrencyFigures, CustomerFigures, MonthFigures, ServiceFigures } from './figures.js';
import type { Units } from './lists.js';
import { Find, Percent } from './lists.js';

/** The tables of all customers and of all services, to look one up. */

export interface DirectoryProps {
  section: CurrencyFigures;
  /** 1, 2, …: ids of its tables end so. */
  number: number;
  figures: MonthFigures;
  format: Format;
}

/** Name and id of a customer, with the way to its statement. The id is never cut. */
export function CustomerName({ customer }: { customer: CustomerFigures }): JSX.Element {
  return (
    <>
      <a href={statementOf(customer)}>
        <bdi>{customer.name}</bdi>
      </a>{' '}
      <span class="id">{idOf(customer)}</span>
    </>
  );
}

const statementOf = ({ file }: { file: string }): string => `customers/${encodeURIComponent(file)}.html`;

function idOf({ id, accounts }: CustomerFigures): string {
  return accounts.length > 1 ? `${accounts.length} accounts` : (accounts[0] ?? id);
}

/** What every row of a table of all says of an amount beside that of the month before. */
function ComparedCells({
  compared,
  currency,
  format,
}: Units & { compared: ServiceFigures | CustomerFigures }): JSX.Element {
  return (
    <>
      <td class="n away">
        {compared.previous === null ? (
          <Nothing />
        ) : (
          <Money amount={compared.previous} currency={currency} format={format} />
        )}
      </td>
      <td class="n this">
        <Money amount={compared.amount} currency={currency} format={format} />
      </td>
      <td class="n change">
        <Change amount={compared.change} currency={currency} format={format} />
      </td>
      <td class="n mute way">
        {compared.ratio === null ? (
          changeWords(compared, format)
        ) : (
          <data value={compared.ratio}>{changeWords(compared, format)}</data>
        )}
      </td>
      <td class="n mute away">
        <Percent ratio={compared.share} format={format} />
      </td>
    </>
  );
}

function ComparedHeads({ figures }: { figures: MonthFigures }): JSX.Element {
  return (
    <>
      <th scope="col" class="n away">
        {monthWord(figures.previousMonth)}
      </th>
      <th scope="col" class="n" aria-sort="descending">
        {monthWord(figures.month)}
      </th>
      <th scope="col" class="n">
        Change
      </th>
      <th scope="col" class="n">
        Way
      </th>
      <th scope="col" class="n away">
        Share
      </th>
    </>
  );
}

/** The last row of a table of all; how many cells of a row stand between its name and its amounts. */
function TotalRow({ section, format, between }: { section: CurrencyFigures; format: Format; between: number }): JSX.Element {
  const { total, currency } = section;
  return (
    <tfoot>
      <tr>
        <th scope="row" colSpan={between + 1}>
          Total
        </th>
        <td class="n away">
          {total.previous === null ? <Nothing /> : <Money amount={total.previous} currency={currency} format={format} />}
        </td>
        <td class="n this">
          <Money amount={total.amount} currency={currency} format={format} />
        </td>
        <td class="n change">
          <Change amount={total.change} currency={currency} format={format} />
        </td>
        <td class="n way">{changeWords(total, format)}</td>
        <td class="n away" />
      </tr>
    </tfoot>
  );
}

export function Customers({ section, number, figures, format }: DirectoryProps): JSX.Element {
  const { currency, customers } = section;
  const id = `customers-${number}`;
  return (
    <section aria-labelledby={`${id}-title`}>
      <div class="head">
        <h2 id={`${id}-title`}>All customers</h2>
        <span class="mute small">{currency}; each leads to its statement</span>
      </div>
      <Find table={id} what="Find a customer by name, account, organization or status" />
      <div>
        <table id={id} class="list sortable" aria-labelledby={`${id}-title`}>
          <thead>
            <tr>
              <th scope="col">Customer</th>
              <th scope="col">Account</th>
              <th scope="col">Organization</th>
              <th scope="col">Status</th>
              <ComparedHeads figures={figures} />
            </tr>
          </thead>
          <tbody>
            {customers.map((customer) => (
              <tr key={customer.file}>
                <th scope="row">
                  <a href={statementOf(customer)}>
                    <bdi>{customer.name}</bdi>
                  </a>
                </th>
                <td class="id">
                  {customer.accounts.length > 1 ? (
                    <span title={customer.accounts.join(', ')}>{idOf(customer)}</span>
                  ) : (
                    idOf(customer)
                  )}
                </td>
                <td>{customer.organizations.join(', ')}</td>
                <td>{customer.status}</td>
                <ComparedCells compared={customer} currency={currency} format={format} />
              </tr>
            ))}
          </tbody>
          <TotalRow section={section} format={format} between={3} />
        </table>
      </div>
    </section>
  );
}

export function Services({ section, number, figures, format }: DirectoryProps): JSX.Element {
  const { currency, services } = section;
  const id = `services-${number}`;
  return (
    <section aria-labelledby={`${id}-title`}>
      <div class="head">
        <h2 id={`${id}-title`}>All services</h2>
        <span class="mute small">{currency}</span>
      </div>
      <Find table={id} what="Find a service" />
      <div>
        <table id={id} class="list sortable" aria-labelledby={`${id}-title`}>
          <thead>
            <tr>
              <th scope="col">Service</th>
              <th scope="col" class="n">
                Customers
              </th>
              <ComparedHeads figures={figures} />
            </tr>
          </thead>
          <tbody>
            {services.map((service) => (
              <tr key={service.service}>
                <th scope="row">{service.service}</th>
                <td class="n count">
                  <data value={service.customers}>{format.count(service.customers)}</data>
                </td>
                <ComparedCells compared={service} currency={currency} format={format} />
              </tr>
            ))}
          </tbody>
          <TotalRow section={section} format={format} between={1} />
        </table>
      </div>
    </section>
  );
}
