import type { JSX } from 'preact';
import { Fragment } from 'preact';
import type { Format, Units } from './amounts.js';
import {
  Change,
  counted,
  formatOf,
  instantName,
  Money,
  monthName,
  monthWord,
  Nothing,
  SinceLast,
  Sum,
} from './amounts.js';
import {
  breakdownSums,
  Breakdowns,
  ChargeTypes,
  chargeTypesOf,
  MonthNote,
  Unasked,
} from './breakdowns.js';
import { Swatch } from './charts.js';
import type { DirectoryProps } from './directory.js';
import { CustomerName, Customers, Services } from './directory.js';
import { Brand, ExactButton, Foot, renderDocument, StatePill } from './document.js';
import { Earnings } from './earnings.js';
import type { Compared, CurrencyFigures, CustomerFigures, Look, MonthFigures } from './figures.js';
import { Invoices } from './invoices.js';
import type { Naming } from './lists.js';
import { BarList, MoverList } from './lists.js';
import { stepsOf, Trend } from './trend.js';
import { Trust } from './trust.js';

/** New or vanished customers that are named before the table of all has to be asked. */
const FEW = 5;

/**
 * The month's page, for the billing team: can the month be trusted, how much, who and what moved, where it
 * goes, and every customer and service to look up.
 * @param beside files that lie beside the page, for links.
 * @returns a whole HTML file.
 */
export function renderMonth(
  figures: MonthFigures,
  look: Look,
  beside: { workbook: string | null },
): string {
  const format = formatOf(look);
  const month = monthName(figures.month);
  const several = figures.currencies.length > 1;
  return renderDocument({
    title: `AWS cost, ${month}`,
    heading: {
      left: look.title === null ? `AWS cost, ${month}` : `${look.title}: AWS cost, ${month}`,
      right: figures.state === 'final' ? 'Final' : 'Provisional',
    },
    look,
    block: blockOf(figures),
    children: (
      <>
        <a class="skip" href="#customers-1">
          Skip to all customers
        </a>
        <Brand look={look} />
        <header class="top">
          <div>
            <h1>AWS cost, {month}</h1>
            <p class="mute">
              {scale(figures, format)}
              {beside.workbook !== null && (
                <span class="screen">
                  {' · '}
                  <a href={encodeURIComponent(beside.workbook)}>Workbook</a>
                </span>
              )}{' '}
              <ExactButton />
            </p>
          </div>
          <div class="answer">
            {figures.currencies.map(({ currency, total }) => (
              <Total
                key={currency}
                total={total}
                currency={currency}
                figures={figures}
                format={format}
              />
            ))}
          </div>
        </header>
        <Trust figures={figures} format={format} />
        {figures.currencies.map((section, index) => (
          <Fragment key={section.currency}>
            {several && (
              <section>
                <h2>{section.currency}</h2>
                <p class="mute">Amounts of different currencies are never added.</p>
              </section>
            )}
            <Currency section={section} number={index + 1} figures={figures} format={format} />
          </Fragment>
        ))}
        <Foot look={look}>
          <p>
            Amounts are shown with two decimals; the exact ones are in their titles
            {beside.workbook === null ? '' : ' and in the workbook'}. Sums are made of exact amounts
            and then rounded, so shown amounts may differ from them in the last digit.
          </p>
          <p>
            Compared with {monthName(figures.previousMonth)}. Months are in UTC. Made{' '}
            {instantName(figures.made)}.
          </p>
        </Foot>
      </>
    ),
  });
}

/** The page's sums, for machines. */
function blockOf({ month, state, made, currencies }: MonthFigures): unknown {
  return {
    ...{ month, state, made },
    currencies: currencies.map((section) => {
      const { currency, total, organizations, services, customers } = section;
      const { breakdowns, invoices, margins } = section;
      return {
        currency,
        total: total.amount,
        organizations: organizations.map(({ organization, amount }) => [organization, amount]),
        services: services.map(({ service, amount }) => [service, amount]),
        customers: customers.map(({ id, amount }) => [id, amount]),
        breakdowns: breakdownSums(breakdowns),
        ...(invoices === null
          ? {}
          : {
              invoices: invoices.organizations.map(({ organization, state, compared }) => [
                organization,
                state,
                compared.invoices.total,
                compared.creditMemos.total,
                compared.difference,
              ]),
            }),
        ...(margins === null
          ? {}
          : {
              cost: margins.total.cost,
              margin: margins.total.margin,
              margins: margins.customers.map(({ id, margin }) => [id, margin]),
            }),
      };
    }),
  };
}

/** `4 organizations, 287 customers, 49 services`. */
function scale(figures: MonthFigures, format: Format): string {
  const customers = new Set(
    figures.currencies.flatMap((one) => one.customers.map(({ file }) => file)),
  );
  const services = new Set(
    figures.currencies.flatMap((one) => one.services.map(({ service }) => service)),
  );
  return [
    counted(figures.organizations.length, 'organization', format),
    counted(customers.size, 'customer', format),
    counted(services.size, 'service', format),
  ].join(', ');
}

function Total({
  total,
  currency,
  figures,
  format,
}: Units & { total: Compared; figures: MonthFigures }): JSX.Element {
  return (
    <div>
      <p class="total">
        <Sum amount={total.amount} currency={currency} format={format} />
      </p>
      <p>
        <SinceLast compared={total} currency={currency} format={format} />{' '}
        {total.change === null ? 'with' : 'on'} {monthName(figures.previousMonth)}
      </p>
    </div>
  );
}

function Currency({ section, number, figures, format }: DirectoryProps): JSX.Element {
  const { currency } = section;
  const units = { currency, format };
  const customers = new Map(section.customers.map((customer) => [customer.file, customer]));
  const nameOf: Naming = ({ name, file }) => {
    const customer = file === null ? undefined : customers.get(file);
    return customer === undefined ? <bdi>{name}</bdi> : <CustomerName customer={customer} />;
  };
  const previous = monthWord(figures.previousMonth);
  const { movingCustomers, movingServices, newCustomers, vanishedCustomers, breakdowns } = section;
  const charges = chargeTypesOf(breakdowns);
  return (
    <>
      <Organizations section={section} figures={figures} format={format} />
      <Trend section={section} figures={figures} format={format} />
      <section>
        <div class="head">
          <h2>What moved since {previous}</h2>
          <span class="mute small">change in {currency}</span>
        </div>
        {movingCustomers === null || movingServices === null ? (
          <p class="mute">Not compared. {figures.uncompared}</p>
        ) : (
          <>
            <div class="two">
              <div>
                <h3 class="bars-title">Customers</h3>
                <MoverList
                  {...units}
                  movers={movingCustomers}
                  way="up"
                  of="customer"
                  nameOf={nameOf}
                />
                <MoverList
                  {...units}
                  movers={movingCustomers}
                  way="down"
                  of="customer"
                  nameOf={nameOf}
                />
              </div>
              <div>
                <h3 class="bars-title">Services</h3>
                <MoverList
                  {...units}
                  movers={movingServices}
                  way="up"
                  of="service"
                  nameOf={nameOf}
                />
                <MoverList
                  {...units}
                  movers={movingServices}
                  way="down"
                  of="service"
                  nameOf={nameOf}
                />
              </div>
            </div>
            {newCustomers.length + vanishedCustomers.length > 0 && (
              <div class="two arrivals">
                {newCustomers.length > 0 && (
                  <Arrivals
                    {...units}
                    title="New"
                    customers={newCustomers}
                    amountOf={({ amount }) => amount}
                  />
                )}
                {vanishedCustomers.length > 0 && (
                  <Arrivals
                    {...units}
                    title="Gone"
                    customers={vanishedCustomers}
                    amountOf={({ previous: before }) => before ?? '0'}
                  />
                )}
              </div>
            )}
          </>
        )}
      </section>
      {section.restated.length > 0 && <Restated section={section} format={format} />}
      {section.invoices !== null && (
        <Invoices
          {...units}
          invoices={section.invoices}
          notes={number === 1 ? figures.invoices : []}
        />
      )}
      <section>
        <div class="head">
          <h2>Where it went</h2>
          <span class="mute small">{currency}, and share of the total</span>
        </div>
        <div class="two">
          <div>
            <h3 class="bars-title">Services</h3>
            <BarList
              {...units}
              bars={section.topServices}
              label="Largest services"
              nameOf={nameOf}
            />
          </div>
          <div>
            <h3 class="bars-title">Customers</h3>
            <BarList
              {...units}
              bars={section.topCustomers}
              label="Largest customers"
              nameOf={nameOf}
            />
          </div>
        </div>
        {charges !== undefined && (
          <div class="charges">
            <h3>Charge types</h3>
            <ChargeTypes {...units} breakdown={charges} />
            <MonthNote breakdown={charges} />
            <Unasked breakdowns={[charges]} />
          </div>
        )}
      </section>
      <Breakdowns
        {...units}
        breakdowns={breakdowns}
        noteOf={(breakdown) => <MonthNote breakdown={breakdown} />}
        foot={<Unasked breakdowns={breakdowns.filter((one) => one !== charges)} />}
      />
      {section.margins !== null && (
        <Earnings section={section} margins={section.margins} number={number} format={format} />
      )}
      <Customers section={section} number={number} figures={figures} format={format} />
      <Services section={section} number={number} figures={figures} format={format} />
    </>
  );
}

/** The organizations' sums; where there is but one, the total has said it. */
function Organizations({
  section,
  figures,
  format,
}: Omit<DirectoryProps, 'number'>): JSX.Element | null {
  const states = new Map(figures.organizations.map((one) => [one.organization, one.state]));
  const steps = stepsOf(section);
  const shown = section.organizations.filter(
    ({ organization, amount }) => amount === null || steps.has(organization),
  );
  if (shown.length < 2) return null;
  return (
    <section aria-label="Organizations" class="orgs">
      {shown.map(({ organization, amount, ...rest }) => {
        const state = states.get(organization) ?? figures.state;
        return (
          <div key={organization}>
            <div class="name">
              <Swatch step={steps.get(organization) ?? 0} />
              <span>{organization}</span>
              {state !== figures.state && <StatePill state={state} />}
            </div>
            <div class="amount">
              {amount === null ? (
                <Nothing />
              ) : (
                <Money amount={amount} currency={section.currency} format={format} />
              )}
            </div>
            <div class="small">
              {amount !== null && (
                <SinceLast
                  compared={{ amount, ...rest }}
                  currency={section.currency}
                  format={format}
                />
              )}
            </div>
          </div>
        );
      })}
    </section>
  );
}

function Arrivals(
  props: Units & {
    title: string;
    customers: readonly CustomerFigures[];
    amountOf: (customer: CustomerFigures) => string;
  },
): JSX.Element {
  const { title, customers, amountOf, currency, format } = props;
  return (
    <div>
      <h3 class="bars-title">
        {title}: {counted(customers.length, 'customer', format)}
      </h3>
      <table class="bars" aria-label={`${title} customers`}>
        <tbody>
          {customers.slice(0, FEW).map((customer) => (
            <tr key={customer.file}>
              <th scope="row">
                <CustomerName customer={customer} />
              </th>
              <td class="n">
                <Money amount={amountOf(customer)} currency={currency} format={format} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {customers.length > FEW && (
        <p class="mute small bars-title">
          and {format.count(customers.length - FEW)} more, in the table of all customers
        </p>
      )}
    </div>
  );
}

function Restated({ section, format }: { section: CurrencyFigures; format: Format }): JSX.Element {
  const { currency, restated } = section;
  return (
    <section>
      <div class="head">
        <h2>What AWS restated since the fetch before</h2>
        <span class="mute small">{currency}</span>
      </div>
      <div class="wide" tabIndex={0} role="region" aria-label="What AWS restated">
        <table class="list dense">
          <thead>
            <tr>
              <th scope="col">Organization</th>
              <th scope="col" class="away">
                Fetched before
              </th>
              <th scope="col" class="away">
                Fetched now
              </th>
              <th scope="col" class="n">
                Before
              </th>
              <th scope="col" class="n">
                Now
              </th>
              <th scope="col" class="n">
                Change
              </th>
            </tr>
          </thead>
          <tbody>
            {restated.map((one) => (
              <tr key={one.organization}>
                <th scope="row">{one.organization}</th>
                <td class="mute away">{instantName(one.since)}</td>
                <td class="mute away">{instantName(one.until)}</td>
                <td class="n">
                  <Money amount={one.before} currency={currency} format={format} />
                </td>
                <td class="n">
                  <Money amount={one.after} currency={currency} format={format} />
                </td>
                <td class="n">
                  <Change amount={one.difference} currency={currency} format={format} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
