import type { ComponentChildren, JSX } from 'preact';
import type { Format } from './amounts.js';
import { counted, Money, monthName, Nothing } from './amounts.js';
import type { ChartMonth } from './charts.js';
import { MonthsChart, STEPS, Swatch } from './charts.js';
import type { CurrencyFigures, MonthFigures, TrendMonth } from './figures.js';

interface TrendProps {
  section: CurrencyFigures;
  figures: MonthFigures;
  format: Format;
}

/**
 * The step of the accent of each organization that has any cost of the section, by its place there; past the
 * last step they are grey.
 */
export function stepsOf({
  trend,
  trendOrganizations,
}: CurrencyFigures): ReadonlyMap<string, number> {
  const costly = trendOrganizations.filter((organization) =>
    trend.some(({ organizations }) =>
      organizations.some((one) => one.organization === organization && Number(one.amount) !== 0),
    ),
  );
  return new Map(
    costly.map((organization, index) => [organization, index < STEPS ? index + 1 : 0]),
  );
}

/** Up to thirteen months, stacked by organization: as chart, and as table. */
export function Trend({ section, figures, format }: TrendProps): JSX.Element | null {
  const { trend, currency } = section;
  const steps = stepsOf(section);
  const organizations = [...steps.keys()];
  const [first] = trend;
  if (first === undefined || trend.length < 2) return null;
  const span = `${monthName(first.month)} to ${monthName(figures.month)}`;
  const months: ChartMonth[] = trend.map((month) => ({
    month: month.month,
    state: month.state,
    gap: month.gap,
    total: month.amount,
    parts: month.organizations.flatMap(({ organization, amount }) =>
      amount === null || !steps.has(organization)
        ? []
        : [
            {
              name: organization,
              step: steps.get(organization) ?? 0,
              amount,
            },
          ],
    ),
  }));
  const gaps = trend.filter(({ gap }) => gap !== null);
  return (
    <section>
      <div class="head">
        <h2>Cost by month</h2>
        <ul class="legend">
          {organizations.length > 1 &&
            organizations.slice(0, STEPS).map((organization, index) => (
              <li key={organization}>
                <Swatch step={index + 1} />
                {organization}
              </li>
            ))}
          {organizations.length > STEPS && (
            <li>
              <Swatch step={0} />
              {counted(organizations.length - STEPS, 'other', format)}
            </li>
          )}
          {trend.some(({ state }) => state === 'provisional') && (
            <li>
              <Swatch step={1} isHatched />
              provisional
            </li>
          )}
        </ul>
      </div>
      <MonthsChart
        months={months}
        currency={currency}
        height={200}
        label={`Cost by month and organization in ${currency}, ${span}. The table below has the same amounts.`}
        format={format}
      />
      {gaps.length > 0 && (
        <ul class="small warn">
          {gaps.map(({ month, gap }) => (
            <li key={month}>
              * {monthName(month)}: {gap}
            </li>
          ))}
        </ul>
      )}
      <TrendTable section={section} format={format} />
    </section>
  );
}

function TrendTable({
  section,
  format,
}: {
  section: CurrencyFigures;
  format: Format;
}): JSX.Element {
  const { trend, currency } = section;
  const organizations = [...stepsOf(section).keys()];
  const cell = (amount: string | null): ComponentChildren =>
    amount === null ? <Nothing /> : <Money amount={amount} currency={currency} format={format} />;
  const stateOf = ({ state, gap }: TrendMonth): string =>
    state !== 'missing' && gap !== null ? `${state}, not whole` : state;
  return (
    <details>
      <summary>The months as a table</summary>
      <div class="wide" tabIndex={0} role="region" aria-label="Cost by month">
        <table class="list dense">
          <thead>
            <tr>
              <th scope="col">Month</th>
              <th scope="col">State</th>
              {organizations.map((organization) => (
                <th key={organization} scope="col" class="n">
                  {organization}
                </th>
              ))}
              <th scope="col" class="n">
                Total {currency}
              </th>
            </tr>
          </thead>
          <tbody>
            {trend.map((month) => (
              <tr key={month.month}>
                <th scope="row">{monthName(month.month)}</th>
                <td class="mute">{stateOf(month)}</td>
                {organizations.map((organization) => (
                  <td key={organization} class="n">
                    {cell(
                      month.organizations.find((one) => one.organization === organization)
                        ?.amount ?? null,
                    )}
                  </td>
                ))}
                <td class="n sum">{cell(month.amount)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
