import type { ComponentChildren, JSX } from 'preact';
import { Fragment } from 'preact';
import type { Breakdown as Dimension } from '../shared/dimensions.js';
import { definitionOf } from '../shared/dimensions.js';
import type { Units } from './amounts.js';
import { counted, Money } from './amounts.js';
import type { Breakdown, MonthBreakdown } from './figures.js';
import { BarList, Parts, Percent } from './lists.js';

/** Breakdowns that stand open; what is more waits to be unfolded, and paper shows it. */
const OPEN = 4;

/** What charge types make of the whole, where they were fetched. */
export const chargeTypesOf = <T extends Breakdown>(breakdowns: readonly T[]): T | undefined =>
  breakdowns.find(({ dimension }) => dimension === 'RECORD_TYPE');

/** The values' amounts, for machines; behind them how many more there are, and their sum. */
export const breakdownSums = (breakdowns: readonly Breakdown[]) =>
  breakdowns.map(({ dimension, values, further }) => [
    dimension,
    values.map(({ value, amount }) => [value, amount]),
    ...(further === null ? [] : [further.count, further.amount]),
  ]);

/** Charge types, which are few, side by side. */
export function ChargeTypes(props: Units & { breakdown: Breakdown }): JSX.Element {
  const { breakdown, ...units } = props;
  return (
    <Parts
      {...units}
      parts={[
        ...breakdown.values.map(({ value, ...rest }) => ({ ...rest, name: value })),
        ...(isShown(breakdown, units) ? [{ name: NONE, amount: breakdown.rest, share: null }] : []),
      ]}
    />
  );
}

/** What the total has beyond the values. */
const NONE = 'in none of these';

const isShown = ({ rest }: Breakdown, { format }: Units): boolean => !format.isZero(rest);

/**
 * A section of bars for each breakdown but that by charge type.
 * @param noteOf what is to be said below one.
 * @param foot what is to be said of several.
 * @param isWhole whether the values past the largest ten can be unfolded.
 */
export function Breakdowns<T extends Breakdown>(
  props: Units & {
    breakdowns: readonly T[];
    noteOf?: (breakdown: T) => ComponentChildren;
    foot?: ComponentChildren;
    isWhole?: boolean;
  },
): JSX.Element | null {
  const { breakdowns, noteOf = () => null, foot, isWhole = false, ...units } = props;
  const shown = breakdowns.filter((one) => one !== chargeTypesOf(breakdowns));
  if (shown.length === 0) return null;
  const grid = (some: readonly T[]): JSX.Element => (
    <div class="two broken">
      {some.map((breakdown) => (
        <div key={breakdown.dimension}>
          <div class="bars-title head">
            <h3>
              <Title dimension={breakdown.dimension} />
            </h3>
            <Without {...units} breakdown={breakdown} />
          </div>
          {breakdown.values.length > 0 && <Values {...units} {...{ breakdown, isWhole }} />}
          {noteOf(breakdown)}
        </div>
      ))}
    </div>
  );
  const more = shown.slice(OPEN);
  return (
    <section>
      <div class="head">
        <h2>Breakdowns</h2>
        <span class="mute small">{units.currency}, and share of the total</span>
      </div>
      {grid(shown.slice(0, OPEN))}
      {more.length > 0 && (
        <details class="more">
          <summary class="screen">
            {counted(more.length, 'more breakdown', units.format)}:{' '}
            <Titles dimensions={more.map(({ dimension }) => dimension)} />
          </summary>
          {grid(more)}
        </details>
      )}
      {foot}
    </section>
  );
}

function Values(props: Units & { breakdown: Breakdown; isWhole: boolean }): JSX.Element {
  const { breakdown, isWhole, ...units } = props;
  const { dimension, top, values, further } = breakdown;
  const others = values.slice(top.bars.length);
  const row = (
    name: JSX.Element,
    { amount, share }: Omit<Breakdown['values'][number], 'value'>,
  ) => (
    <>
      <th scope="row">{name}</th>
      <td class="n">
        <Money {...units} amount={amount} />
      </td>
      <td class="n mute">
        <Percent ratio={share} format={units.format} />
      </td>
    </>
  );
  return (
    <>
      <BarList
        {...units}
        bars={top}
        label={labelOf(dimension)}
        nameOf={({ name }) => <Value dimension={dimension} value={name} />}
      />
      {isShown(breakdown, units) && (
        <p class="mute small bars-title">
          <Money {...units} amount={breakdown.rest} /> is {NONE}.
        </p>
      )}
      {isWhole && others.length > 0 && (
        <details>
          <summary>
            The {counted(others.length + (further?.count ?? 0), 'other', units.format)}
          </summary>
          <table class="bars" aria-label={`${labelOf(dimension)}, others`}>
            <tbody>
              {others.map((other) => (
                <tr key={other.value}>
                  {row(<Value dimension={dimension} value={other.value} />, other)}
                </tr>
              ))}
              {further !== null && (
                <tr>
                  {row(
                    <span class="mute">
                      {counted(further.count, 'further value', units.format)}
                    </span>,
                    further,
                  )}
                </tr>
              )}
            </tbody>
          </table>
        </details>
      )}
    </>
  );
}

/** How much has no value, beside the heading: it may be among the others. */
function Without({ breakdown, format }: Units & { breakdown: Breakdown }): JSX.Element | null {
  const none = breakdown.values.find(({ value }) => value === '');
  if (none === undefined || none.share === null) return null;
  return (
    <span class="mute small">
      <Percent ratio={none.share} format={format} /> {nothingOf(breakdown.dimension)}
    </span>
  );
}

function Value({ dimension, value }: { dimension: Dimension; value: string }): JSX.Element {
  return value === '' ? <span class="mute">{nothingOf(dimension)}</span> : <bdi>{value}</bdi>;
}

/** What has no value of a dimension is called. */
function nothingOf(dimension: Dimension): string {
  const { Type } = definitionOf(dimension);
  return { TAG: 'untagged', COST_CATEGORY: 'uncategorized', DIMENSION: 'no value' }[Type];
}

function Title({ dimension }: { dimension: Dimension }): JSX.Element {
  const { kind, key } = titleOf(dimension);
  return key === undefined ? (
    <>{kind}</>
  ) : (
    <>
      {kind} <bdi>{key}</bdi>
    </>
  );
}

function Titles({ dimensions }: { dimensions: readonly Dimension[] }): JSX.Element {
  return (
    <>
      {dimensions.map((dimension, index) => (
        <Fragment key={dimension}>
          {index > 0 && ', '}
          <Title dimension={dimension} />
        </Fragment>
      ))}
    </>
  );
}

const labelOf = (dimension: Dimension): string => {
  const { kind, key } = titleOf(dimension);
  return `By ${kind.charAt(0).toLowerCase()}${kind.slice(1)}${key === undefined ? '' : ` ${key}`}`;
};

/** `Tag team`, `Cost category Segment`, `Region`, `Legal entity name`. */
function titleOf(dimension: Dimension): { kind: string; key: string | undefined } {
  const { Type, Key } = definitionOf(dimension);
  if (Type !== 'DIMENSION') return { kind: inWords(Type), key: Key };
  if (Key === 'AZ') return { kind: 'Availability Zone', key: undefined };
  return { kind: inWords(Key), key: undefined };
}

function inWords(name: string): string {
  return name.charAt(0) + name.slice(1).toLowerCase().replaceAll('_', ' ');
}

/** Why a breakdown of the month is without an organization, or has no value at all. */
export function MonthNote({ breakdown }: { breakdown: MonthBreakdown }): JSX.Element {
  const { dimension, values, without } = breakdown;
  const isUntagged = values.length === 1 && values[0]?.value === '';
  return (
    <>
      {without.map(
        ({ organization, refused }) =>
          refused !== null && (
            <p key={organization} class="mute small bars-title">
              AWS refused it of {organization}: <bdi>{refused}</bdi>
            </p>
          ),
      )}
      {isUntagged && definitionOf(dimension).Type === 'TAG' && (
        <p class="mute small bars-title">
          No cost has a value of it. Is the key activated as a cost allocation tag in the payer’s
          account?
        </p>
      )}
    </>
  );
}

/** Organizations that were not asked, each once: its cost is in no value. */
export function Unasked({
  breakdowns,
}: {
  breakdowns: readonly MonthBreakdown[];
}): JSX.Element | null {
  const lacking = new Map<string, Dimension[]>();
  for (const { dimension, without } of breakdowns)
    for (const { organization, refused } of without)
      if (refused === null)
        lacking.set(organization, [...(lacking.get(organization) ?? []), dimension]);
  if (lacking.size === 0) return null;
  return (
    <>
      {[...lacking].map(([organization, dimensions]) => (
        <p key={organization} class="mute small">
          Not fetched of {organization}, whose cost is in none of these values
          {dimensions.length < breakdowns.length && (
            <>
              {': '}
              <Titles dimensions={dimensions} />
            </>
          )}
          .
        </p>
      ))}
    </>
  );
}
