import type { JSX } from 'preact';
import { scaleBand, scaleLinear } from 'd3-scale';
import type { Month } from '../shared/month.js';
import type { Format } from './amounts.js';
import { monthName, monthWord } from './amounts.js';
import type { Amount, State } from './figures.js';

/** Steps of the accent's lightness; what has none left is step 0, grey. */
export const STEPS = 5;

/** One month of a chart: its parts stand on each other, the negative ones below zero. */
export interface ChartMonth {
  month: Month;
  state: State | 'missing';
  /** Why it is missing or not whole; null when it is whole. */
  gap: string | null;
  /** Exact; null when it is missing. */
  total: Amount | null;
  /** Each with its step of the accent. */
  parts: readonly { name: string; step: number; amount: Amount }[];
}

interface MonthsChartProps {
  /** Oldest first. */
  months: readonly ChartMonth[];
  currency: string;
  /** Height of the plot in pixels. */
  height: number;
  /** What the chart shows, for those who do not see it. */
  label: string;
  format: Format;
}

const TOP = 26;
const FOOT = 38;
const GUTTER = 56;
/** The plot's width in percent, so that its bars follow the page's width while its texts keep their size. */
const WIDTH = 100;
/** Months whose texts a phone has room for; of more, it shows every third. */
const ROOMY = 7;
/** The widest bar, in percent, where there are few. */
const WIDEST = 7;

/**
 * Months as bars from zero. Heights are pixels and widths percent: one drawing serves screen, phone
 * and paper. Provisional months are hatched, missing ones named in their place.
 */
export function MonthsChart({
  months,
  currency,
  height,
  label,
  format,
}: MonthsChartProps): JSX.Element {
  const stacks = months.map((month) => stack(month));
  const x = scaleBand(
    months.map(({ month }) => month),
    [0, WIDTH],
  ).padding(0.28);
  const y = scaleLinear(
    [Math.min(0, ...stacks.map(({ low }) => low)), Math.max(0, ...stacks.map(({ high }) => high))],
    [height, 0],
  );
  if (y.domain()[0] === y.domain()[1]) y.domain([0, 1]);
  y.nice(4);
  const ticks = y.ticks(4);
  const last = months.at(-1)?.month;
  // What is below zero has its amount below it.
  const foot = TOP + height + (stacks.some(isBelowZero) ? 18 : 0);
  const size = foot + FOOT;
  return (
    <div class="chart" role="img" aria-label={label}>
      <svg width={GUTTER} height={size} aria-hidden="true">
        <text x={GUTTER - 10} y={12} text-anchor="end">
          {currency}
        </text>
        {ticks.map((tick) => (
          <text key={tick} x={GUTTER - 10} y={TOP + y(tick) + 4} text-anchor="end">
            {format.tick(tick)}
          </text>
        ))}
      </svg>
      <svg width="100%" height={size} aria-hidden="true">
        {ticks.map((tick) => (
          <line key={tick} x1="0" x2="100%" y1={TOP + y(tick)} y2={TOP + y(tick)} class="grid" />
        ))}
        {months.map((month, index) => (
          <MonthBars
            key={month.month}
            month={month}
            stacked={stacks[index] ?? stack(month)}
            middle={(x(month.month) ?? 0) + x.bandwidth() / 2}
            width={Math.min(x.bandwidth(), WIDEST)}
            step={x.step()}
            y={(value) => TOP + y(value)}
            foot={foot}
            isFirst={index === 0}
            isDim={months.length > ROOMY && (months.length - 1 - index) % 3 !== 0}
            isLast={month.month === last}
            currency={currency}
            format={format}
          />
        ))}
        <line x1="0" x2="100%" y1={TOP + y(0)} y2={TOP + y(0)} class="zero" />
      </svg>
    </div>
  );
}

interface Stacked {
  bars: readonly { step: number; from: number; to: number }[];
  low: number;
  high: number;
}

/** Where each part begins and ends: positive ones upwards from zero, negative ones downwards. */
function stack({ parts }: ChartMonth): Stacked {
  let low = 0;
  let high = 0;
  const bars = parts.map(({ amount, step }) => {
    const value = Number(amount);
    const from = value < 0 ? low : high;
    const to = from + value;
    if (value < 0) low = to;
    else high = to;
    return { step, from, to };
  });
  return { bars, low, high };
}

const isBelowZero = ({ low, high }: Stacked): boolean => high === 0 && low < 0;

interface MonthBarsProps {
  month: ChartMonth;
  stacked: Stacked;
  /** In percent of the plot's width, as `width` and `step` are. */
  middle: number;
  width: number;
  step: number;
  y: (value: number) => number;
  /** Pixels from the top at which the plot ends. */
  foot: number;
  isFirst: boolean;
  isLast: boolean;
  /** Whether its texts give way on a phone. */
  isDim: boolean;
  currency: string;
  format: Format;
}

function MonthBars(props: MonthBarsProps): JSX.Element {
  const { month, stacked, width, y, foot, format } = props;
  const middle = `${props.middle}%`;
  const left = `${props.middle - width / 2}%`;
  const year = month.month.slice(0, 4);
  const emphasis = props.isLast ? 'now' : props.isDim ? 'dim' : undefined;
  return (
    <g class="month">
      <title>{describe(month, props.currency, format)}</title>
      <rect
        class="back"
        x={`${props.middle - props.step / 2}%`}
        width={`${props.step}%`}
        y={0}
        height={foot + FOOT}
      />
      {stacked.bars.map((bar, index) => (
        <rect
          key={index}
          class={`${month.state === 'provisional' ? 'h' : 'f'}${bar.step}`}
          x={left}
          width={`${width}%`}
          {...between(y(bar.from), y(bar.to))}
        />
      ))}
      {month.total !== null && Number(month.total) !== 0 && (
        <text
          x={middle}
          y={isBelowZero(stacked) ? y(stacked.low) + 15 : y(stacked.high) - 6}
          text-anchor="middle"
          class={emphasis}
        >
          {format.short(Number(month.total))}
          {month.gap === null ? '' : ' *'}
        </text>
      )}
      {month.total === null && (
        <text x={middle} y={y(0) - 6} text-anchor="middle" class="alert">
          none
        </text>
      )}
      <text x={middle} y={foot + 17} text-anchor="middle" class={emphasis}>
        {monthWord(month.month).slice(0, 3)}
      </text>
      {(props.isFirst || month.month.endsWith('-01')) && (
        <text x={middle} y={foot + 32} text-anchor="middle" class={emphasis}>
          {year}
        </text>
      )}
    </g>
  );
}

/** A bar's place; the part nearest to the next one leaves a hairline, so that neighbours are told apart. */
function between(a: number, b: number): { y: number; height: number } {
  const height = Math.abs(a - b);
  // What is there at all is seen.
  return {
    y: Math.min(a, b),
    height: height === 0 ? 0 : Math.max(height > 3 ? height - 1 : height, 1),
  };
}

/** A month in words and with exact amounts. */
function describe(month: ChartMonth, currency: string, format: Format): string {
  const lines = [
    `${monthName(month.month)}${month.state === 'provisional' ? ', provisional' : ''}`,
    ...(month.total === null ? [] : [`Total ${format.exact(month.total, currency)}`]),
    ...(month.parts.length < 2
      ? []
      : month.parts.map(({ name, amount }) => `${name} ${format.exact(amount, currency)}`)),
    ...(month.gap === null ? [] : [month.gap]),
  ];
  return lines.join('\n');
}

/** The hatchings of provisional months, one for each step; a file needs them once. */
export function Hatchings(): JSX.Element {
  return (
    <svg class="defs" width="0" height="0" aria-hidden="true">
      <defs>
        {Array.from({ length: STEPS + 1 }, (_, step) => (
          <pattern
            key={step}
            id={`hatch${step}`}
            width="6"
            height="6"
            patternUnits="userSpaceOnUse"
            patternTransform="rotate(45)"
          >
            <rect class="paper" width="6" height="6" />
            <rect class={`f${step}`} width="3.2" height="6" />
          </pattern>
        ))}
      </defs>
    </svg>
  );
}

/** A small square in the colour of a step, as the chart shows it. */
export function Swatch({
  step,
  isHatched = false,
}: {
  step: number;
  isHatched?: boolean;
}): JSX.Element {
  return (
    <svg class="swatch" width="10" height="10" aria-hidden="true">
      <rect class={`${isHatched ? 'h' : 'f'}${step}`} width="10" height="10" rx="1" />
    </svg>
  );
}

/** The longest bar of a list. */
export function longestOf(amounts: readonly Amount[]): number {
  // Not by spreading: a list may be longer than a call has arguments.
  return amounts.reduce((most, amount) => Math.max(most, Math.abs(Number(amount))), 0);
}

/**
 * A bar behind a row's words, from zero at the left. The number beside it says how much, and its sign and
 * word what the grey of an amount below zero shows.
 */
export function RowBar({
  amount,
  longest,
  isFaint = amount.startsWith('-'),
}: RowBarProps): JSX.Element | null {
  const length = Math.abs(Number(amount)) / (longest || 1);
  if (length === 0) return null;
  return (
    <svg class="bar" width="100%" height="100%" aria-hidden="true">
      <rect
        class={isFaint ? 't2' : 't1'}
        width={`${Math.max(length * 100, 0.2).toFixed(2)}%`}
        height="100%"
        rx="3"
      />
    </svg>
  );
}

interface RowBarProps {
  amount: Amount;
  longest: number;
  isFaint?: boolean;
}
