import type { JSX } from 'preact';
import { Fragment } from 'preact';
import type { Format, Units } from './amounts.js';
import type { Compared, CurrencyFigures, CustomerFigures, MonthFigures, Share } from './figures.js';
import type { Months } from './lists.js';
import { ComparedCells, ComparedHeads, Find, isCompared, Percent } from './lists.js';
import { isLater } from './script.js';

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

const statementOf = ({ file }: { file: string }): string =>
  `customers/${encodeURIComponent(file)}.html`;

function idOf({ id, accounts }: CustomerFigures): string {
  return accounts.length > 1 ? `${accounts.length} accounts` : (accounts[0] ?? id);
}

/** AWS's words for an account's state, which may break where they are joined: names need the room. */
function Status({ words }: { words: string }): JSX.Element {
  const [first, ...others] = words.split('_');
  return (
    <>
      {first}
      {others.map((word, index) => (
        <Fragment key={index}>
          _<wbr />
          {word}
        </Fragment>
      ))}
    </>
  );
}

/** Columns past the name's own: those compared, and the share. */
function Heads({ months }: { months: Months }): JSX.Element {
  return (
    <>
      <ComparedHeads months={months} isSorted />
      <th scope="col" class="n away">
        Share
      </th>
    </>
  );
}

function Cells(props: Units & { months: Months; compared: Share }): JSX.Element {
  return (
    <>
      <ComparedCells {...props} />
      <td class="n mute away">
        <Percent ratio={props.compared.share} format={props.format} />
      </td>
    </>
  );
}

/** The last row of a table; `columns` is how many stand before its amounts. */
function TotalRow(
  props: Units & { months: Months; compared: Compared; columns: number },
): JSX.Element {
  return (
    <tfoot>
      <tr>
        <th scope="row" colSpan={props.columns}>
          Total
        </th>
        <ComparedCells {...props} />
        <td class="away" />
      </tr>
    </tfoot>
  );
}

export function Customers({ section, number, figures, format }: DirectoryProps): JSX.Element {
  const { currency, customers, total } = section;
  const months = { ...figures, isCompared: isCompared(customers) };
  const units = { currency, format, months };
  const id = `customers-${number}`;
  return (
    <section aria-labelledby={`${id}-title`}>
      <div class="head">
        <h2 id={`${id}-title`}>All customers</h2>
        <span class="mute small">{currency}; each leads to its statement</span>
      </div>
      <Find table={id} what="Find a customer by name, account, organization or status" />
      <div>
        <table id={id} class="list sortable names" aria-labelledby={`${id}-title`}>
          <thead>
            <tr>
              <th scope="col">Customer</th>
              <th scope="col">Account</th>
              <th scope="col">Organization</th>
              <th scope="col">Status</th>
              <Heads months={months} />
            </tr>
          </thead>
          <tbody>
            {customers.map((customer, row) => (
              <tr
                key={customer.file}
                class={isLater(row, customers.length) ? 'later' : undefined}
                data-words={customer.accounts.length > 1 ? customer.accounts.join(' ') : undefined}
              >
                <th scope="row">
                  <a href={statementOf(customer)}>
                    <bdi>{customer.name}</bdi>
                  </a>
                </th>
                <td class="id">{idOf(customer)}</td>
                <td>{customer.organizations.join(', ')}</td>
                <td>
                  <Status words={customer.status} />
                </td>
                <Cells {...units} compared={customer} />
              </tr>
            ))}
          </tbody>
          <TotalRow {...units} compared={total} columns={4} />
        </table>
      </div>
    </section>
  );
}

export function Services({ section, number, figures, format }: DirectoryProps): JSX.Element {
  const { currency, services, total } = section;
  const months = { ...figures, isCompared: isCompared(services) };
  const units = { currency, format, months };
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
              <Heads months={months} />
            </tr>
          </thead>
          <tbody>
            {services.map((service) => (
              <tr key={service.service}>
                <th scope="row">{service.service}</th>
                <td class="n count">
                  <data value={service.customers}>{format.count(service.customers)}</data>
                </td>
                <Cells {...units} compared={service} />
              </tr>
            ))}
          </tbody>
          <TotalRow {...units} compared={total} columns={2} />
        </table>
      </div>
    </section>
  );
}
