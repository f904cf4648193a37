import type { JSX } from 'preact';
import type { Format } from './amounts.js';
import { Change, dayName, instantName, Money } from './amounts.js';
import { StatePill } from './document.js';
import type { MonthFigures } from './figures.js';

/** Whether the month can be trusted: what AWS may still change, what it says itself, what is not there. */
export function Trust({ figures, format }: { figures: MonthFigures; format: Format }): JSX.Element {
  const { fetched, organizations } = figures;
  const amiss = organizations.filter(({ state }) => state === 'missing' || state === 'stale');
  const missing = amiss.filter(({ state }) => state === 'missing');
  const [oldest, newest] = [instantName(fetched.oldest), instantName(fetched.newest)];
  const several = figures.currencies.length > 1;
  return (
    <>
      <div class="trust">
        <dl>
          <div>
            <dt>
              <StatePill state={figures.state} />
            </dt>
            <dd class="plain-words">
              {figures.state === 'final'
                ? 'AWS had closed the month when it was fetched'
                : `AWS may still change it; final when fetched from ${dayName(figures.finalFrom)} on`}
            </dd>
          </div>
          <div>
            <dt>Fetched</dt>
            <dd>{oldest === newest ? newest : `${oldest} to ${newest}`}</dd>
          </div>
          {missing.length === 0 && organizations.length > 1 && (
            <div>
              <dt>Organizations</dt>
              <dd>all {format.count(organizations.length)} there</dd>
            </div>
          )}
        </dl>
        {figures.currencies.map(({ currency, total, aws }) => (
          <dl key={currency}>
            <div>
              <dt>AWS’s total{several && ` ${currency}`}</dt>
              <dd>
                {aws.total === null ? (
                  'not asked for'
                ) : (
                  <Money amount={aws.total} currency={currency} format={format} />
                )}
              </dd>
            </div>
            <div>
              <dt>Sum of the rows</dt>
              <dd>
                <Money amount={total.amount} currency={currency} format={format} />
              </dd>
            </div>
            {aws.difference !== null && (
              <div>
                <dt>Difference</dt>
                <dd>
                  <Change amount={aws.difference} currency={currency} format={format} />
                </dd>
              </div>
            )}
            {aws.unasked.length > 0 && aws.unasked.length < organizations.length && (
              <div>
                <dt>Not asked for of</dt>
                <dd>{aws.unasked.join(', ')}</dd>
              </div>
            )}
          </dl>
        ))}
      </div>
      {figures.otherViews.length > 0 && (
        <div class="problems" role="note">
          <h2 class="warn">The months are of several billing views</h2>
          <ul>
            {figures.otherViews.map((one) => (
              <li key={one}>{one}</li>
            ))}
          </ul>
        </div>
      )}
      {amiss.length > 0 && (
        <div class="problems" role="note">
          <h2 class="warn">
            {missing.length > 0 ? 'This month is not whole' : 'Newer figures were fetched since'}
          </h2>
          <ul>
            {amiss.map((one) => (
              <li key={one.organization}>
                <StatePill state={one.state} /> <b>{one.organization}</b>{' '}
                {one.reason ?? `is ${one.state}`}
                {one.command !== null && (
                  <>
                    : <code>{one.command}</code>
                  </>
                )}
              </li>
            ))}
          </ul>
        </div>
      )}
    </>
  );
}
