import type { JSX } from 'preact';
import { Fragment } from 'preact';
import type { Format } from './amounts.js';
import {
  Change,
  dayName,
  formatOf,
  Money,
  monthName,
  monthWord,
  Nothing,
  SinceLast,
  Sum,
} from './amounts.js';
import { breakdownSums, Breakdowns, ChargeTypes, chargeTypesOf } from './breakdowns.js';
import { longestOf, MonthsChart, RowBar } from './charts.js';
import { Brand, ExactButton, Foot, renderDocument, StatePill } from './document.js';
import type { Correction, Look, StatementCurrency, StatementFigures } from './figures.js';
import { ComparedCells, ComparedHeads, Find, isCompared, MoverList } from './lists.js';

/** Services past which a statement has a field to search them. */
const MANY = 20;

/**
 * The statement that one customer is handed. It says nothing of others, nor of where its figures lie: all
 * it can know is `figures`.
 * @returns a whole HTML file.
 */
export function renderStatement(figures: StatementFigures, look: Look): string {
  const format = formatOf(look);
  const month = monthName(figures.month);
  const several = figures.currencies.length > 1;
  return renderDocument({
    title: `${figures.name}, ${month}`,
    heading: {
      left: `${figures.name} (${accountsInWords(figures)})`,
      right: `Statement, ${month}`,
    },
    look,
    block: blockOf(figures),
    children: (
      <>
        <Brand look={look} />
        <header class="top">
          <div>
            <h1>
              <bdi>{figures.name}</bdi>
            </h1>
            <p class="mute">
              Statement of AWS cost, {month} · <span class="id">{accountsInWords(figures)}</span>{' '}
              <ExactButton />
            </p>
          </div>
          <div class="answer">
            {figures.currencies.map(({ currency, total }) => (
              <div key={currency}>
                <p class="total">
                  <Sum amount={total.amount} currency={currency} format={format} />
                </p>
                <p>
                  <SinceLast compared={total} currency={currency} format={format} />{' '}
                  {total.change === null ? 'with' : 'on'} {monthName(figures.previousMonth)}
                </p>
              </div>
            ))}
          </div>
        </header>
        <div class="trust">
          <StatePill state={figures.state} />{' '}
          {figures.state === 'final'
            ? `As AWS reported it on ${dayName(figures.fetched)}.`
            : `As AWS reported it on ${dayName(figures.fetched)}. AWS may still change it until ${dayName(figures.finalFrom)}.`}
          {figures.uncompared !== null && ` ${figures.uncompared}`}
        </div>
        {figures.missingAccounts.length > 0 && (
          <div class="problems" role="note">
            <h2 class="warn">This statement is not whole</h2>
            <p>
              Not all figures of {figures.missingAccounts.join(', ')} are there yet: the sum may be
              without a part of them.
            </p>
          </div>
        )}
        {figures.corrections.length > 0 && (
          <Corrections corrections={figures.corrections} format={format} />
        )}
        {figures.currencies.map((section, index) => (
          <Fragment key={section.currency}>
            {several && (
              <section>
                <h2>{section.currency}</h2>
              </section>
            )}
            <Currency section={section} number={index + 1} figures={figures} format={format} />
          </Fragment>
        ))}
        <Foot look={look}>
          <p>
            Amounts are shown with two decimals; the exact ones are in their titles. Sums are made
            of exact amounts and then rounded, so shown amounts may differ from them in the last
            digit. Months are in UTC. Made {dayName(figures.made)}.
          </p>
        </Foot>
      </>
    ),
  });
}

/** The customer's own sums, for machines. */
function blockOf({ month, state, made, id, currencies }: StatementFigures): unknown {
  return {
    ...{ month, state, made, customer: id },
    currencies: currencies.map(({ currency, total, accounts, services, breakdowns }) => ({
      currency,
      total: total.amount,
      accounts: accounts.map(({ account, amount }) => [account, amount]),
      services: services.map(({ service, amount }) => [service, amount]),
      breakdowns: breakdownSums(breakdowns),
    })),
  };
}

/** `account 000456789012`, `3 accounts`. */
function accountsInWords({ accounts, id }: StatementFigures): string {
  return accounts.length > 1
    ? `${accounts.length} accounts`
    : `account ${accounts[0]?.account ?? id}`;
}

/** What AWS changed of months that the customer has a statement of. */
function Corrections({
  corrections,
  format,
}: {
  corrections: readonly Correction[];
  format: Format;
}): JSX.Element {
  return (
    <div class="note" role="note">
      <h2>Corrected since the last statement</h2>
      <p>AWS changed what was reported to you before.</p>
      <table class="list">
        <thead>
          <tr>
            <th scope="col">Month</th>
            <th scope="col">Reported on</th>
            <th scope="col" class="n">
              Then
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
          {corrections.map((one) => (
            <tr key={one.month + one.currency}>
              <th scope="row">{monthName(one.month)}</th>
              <td>{dayName(one.reported)}</td>
              <td class="n">
                <Money amount={one.before} currency={one.currency} format={format} />
              </td>
              <td class="n this">
                <Money amount={one.after} currency={one.currency} format={format} /> {one.currency}
              </td>
              <td class="n change">
                <Change amount={one.difference} currency={one.currency} format={format} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface CurrencyProps {
  section: StatementCurrency;
  number: number;
  figures: StatementFigures;
  format: Format;
}

function Currency({ section, number, figures, format }: CurrencyProps): JSX.Element {
  const { currency, movingServices, breakdowns, accounts } = section;
  const charges = chargeTypesOf(breakdowns);
  const units = { currency, format };
  const ways = (['up', 'down'] as const).filter((way) => (movingServices?.[way].count ?? 0) > 0);
  return (
    <>
      <Trend section={section} format={format} />
      {movingServices !== null && ways.length > 0 && (
        <section class="keep">
          <div class="head">
            <h2>What moved since {monthWord(figures.previousMonth)}</h2>
            <span class="mute small">change in {currency}</span>
          </div>
          <div class="two">
            {ways.map((way) => (
              <MoverList
                {...units}
                key={way}
                movers={movingServices}
                way={way}
                of="service"
                nameOf={({ name }) => name}
              />
            ))}
          </div>
        </section>
      )}
      {accounts.length > 1 && <Accounts section={section} figures={figures} format={format} />}
      <Services section={section} number={number} figures={figures} format={format} />
      {charges !== undefined && (
        <section class="keep">
          <div class="head">
            <h2>Charge types</h2>
            <span class="mute small">{currency}</span>
          </div>
          <ChargeTypes {...units} breakdown={charges} />
        </section>
      )}
      <Breakdowns {...units} breakdowns={breakdowns} isWhole />
      <Usage section={section} format={format} />
    </>
  );
}

/** The months as bars, and beside them as a table. */
function Trend({
  section: { trend, currency },
  format,
}: {
  section: StatementCurrency;
  format: Format;
}): JSX.Element | null {
  const [first] = trend;
  const last = trend.at(-1);
  if (first === undefined || last === undefined || trend.length < 2) return null;
  const span = `${monthName(first.month)} to ${monthName(last.month)}`;
  return (
    <section class="keep">
      <div class="head">
        <h2>Cost by month</h2>
        <span class="mute small">
          {currency}
          {trend.some(({ state }) => state === 'provisional') && ', hatched where provisional'}
        </span>
      </div>
      <div class="trend">
        <MonthsChart
          months={trend.map(({ month, state, amount }) => ({
            month,
            state,
            gap: null,
            total: amount,
            parts: amount === null ? [] : [{ name: 'cost', step: 1, amount }],
          }))}
          currency={currency}
          height={190}
          label={`Cost by month in ${currency}, ${span}. The table beside has the same amounts.`}
          format={format}
        />
        <table class="small" aria-label="Cost by month">
          <tbody>
            {trend.map(({ month, state, amount }) => (
              <tr key={month}>
                <th scope="row">
                  {monthName(month)}
                  {state === 'provisional' && <span class="mute"> provisional</span>}
                </th>
                <td class="n">
                  {amount === null ? (
                    <Nothing />
                  ) : (
                    <Money amount={amount} currency={currency} format={format} />
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Accounts({ section, figures, format }: Omit<CurrencyProps, 'number'>): JSX.Element {
  const { accounts, currency, total } = section;
  const months = { ...figures, isCompared: isCompared(accounts) };
  const units = { currency, format, months };
  return (
    <section>
      <div class="head">
        <h2>Accounts</h2>
        <span class="mute small">{currency}</span>
      </div>
      <table class="list sortable" aria-label="Accounts">
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Account</th>
            <th scope="col">Status</th>
            <ComparedHeads months={months} isSorted={false} />
          </tr>
        </thead>
        <tbody>
          {accounts.map((one) => (
            <tr key={one.account}>
              <th scope="row">
                <bdi>{one.name}</bdi>
              </th>
              <td class="id">{one.account}</td>
              <td>{one.status}</td>
              <ComparedCells {...units} compared={one} />
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row" colSpan={3}>
              Total
            </th>
            <ComparedCells {...units} compared={total} />
          </tr>
        </tfoot>
      </table>
    </section>
  );
}

function Services({ section, number, figures, format }: CurrencyProps): JSX.Element {
  const { services, currency, total } = section;
  const months = { ...figures, isCompared: isCompared(services) };
  const units = { currency, format, months };
  const id = `services-${number}`;
  const longest = longestOf(services.map(({ amount }) => amount));
  return (
    <section aria-labelledby={`${id}-title`}>
      <div class="head">
        <h2 id={`${id}-title`}>Services</h2>
        <span class="mute small">{currency}</span>
      </div>
      {services.length > MANY && <Find table={id} what="Find a service" />}
      <table id={id} class="list sortable" aria-labelledby={`${id}-title`}>
        <thead>
          <tr>
            <th scope="col">Service</th>
            <ComparedHeads months={months} isSorted />
          </tr>
        </thead>
        <tbody>
          {services.map((service) => (
            <tr key={service.service}>
              <th scope="row">
                {service.service}
                <RowBar amount={service.amount} longest={longest} />
              </th>
              <ComparedCells {...units} compared={service} />
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">Total</th>
            <ComparedCells {...units} compared={total} />
          </tr>
        </tfoot>
      </table>
    </section>
  );
}

/** Each service's usage types, where that detail was fetched. */
function Usage({
  section: { services, currency },
  format,
}: {
  section: StatementCurrency;
  format: Format;
}): JSX.Element | null {
  const detailed = services.filter(({ usage }) => usage.length > 0);
  if (detailed.length === 0) return null;
  return (
    <section>
      <div class="head">
        <h2>Usage</h2>
        <span class="mute small">quantity, price of one and amount in {currency}</span>
      </div>
      <div class="wide" tabIndex={0} role="region" aria-label="Usage by service">
        <table class="list dense">
          <thead>
            <tr>
              <th scope="col">Usage type</th>
              <th scope="col">Region</th>
              <th scope="col" class="n">
                Quantity
              </th>
              <th scope="col">Unit</th>
              <th scope="col" class="n">
                Price
              </th>
              <th scope="col" class="n">
                Amount
              </th>
            </tr>
          </thead>
          {detailed.map((service) => (
            <tbody key={service.service}>
              <tr class="group">
                <th scope="rowgroup" colSpan={5}>
                  {service.service}
                </th>
                <td class="n">
                  <Money amount={service.amount} currency={currency} format={format} />
                </td>
              </tr>
              {service.usage.map((usage, index) => (
                <tr key={index} class="part">
                  <th scope="row">{usage.usageType === '' ? service.service : usage.usageType}</th>
                  <td class="mute">{usage.region ?? ''}</td>
                  <td class="n">{usage.quantity === null ? '' : format.plain(usage.quantity)}</td>
                  <td class="mute">{usage.unit ?? ''}</td>
                  <td class="n" title={usage.price ?? undefined}>
                    {usage.price === null ? '' : format.plain(usage.price)}
                  </td>
                  <td class="n">
                    <Money amount={usage.amount} currency={currency} format={format} />
                  </td>
                </tr>
              ))}
            </tbody>
          ))}
        </table>
      </div>
    </section>
  );
}
