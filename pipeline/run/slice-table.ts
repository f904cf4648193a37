import type { Stage } from '../config/selection.js';
import { products, subjectOf } from '../shared/commands.js';
import { parseAmount } from '../shared/money.js';
import type { Outcome } from '../shared/outcome.js';
import type { Totals } from '../shared/sums.js';
import { addTo, formatTotals } from '../shared/sums.js';
import { amountColumn, formatTable } from '../shared/table.js';
import type { Slice } from '../staging/layout.js';
import type { TaskReport } from './task.js';
import { endOf, endsOf, price, requestsOf } from './task.js';

/** Months and organizations of which each still has a line of its own: what is read at a glance. */
const MOST = 24;

/** What came of a month and organization. */
interface SliceReport extends Slice {
  /** A task for each stage. */
  tasks: readonly TaskReport[];
  /** Of the last stage that came to something. */
  outcome: Outcome | undefined;
  requests: number;
}

/** The months and organizations of a run, by month and organization. */
export function sliceReports(tasks: readonly TaskReport[]): SliceReport[] {
  const bySlice = new Map<string, TaskReport[]>();
  for (const task of tasks) {
    const name = `${task.month} ${task.organization}`;
    const own = bySlice.get(name);
    if (own === undefined) bySlice.set(name, [task]);
    else own.push(task);
  }
  return [...bySlice.values()].flatMap((own) => {
    const [first] = own;
    if (first === undefined) return [];
    const { month, organization } = first;
    const outcome = own.findLast((task) => task.outcome !== undefined)?.outcome;
    return [{ month, organization, tasks: own, outcome, requests: requestsOf(own) }];
  });
}

/** Whether they are too many to have a line each. */
export function areMany(slices: readonly SliceReport[]): boolean {
  return slices.length > MOST;
}

/** A line for each month and organization. */
export function sliceTable(slices: readonly SliceReport[], stages: readonly Stage[]): string {
  const amount = amountColumn(
    'amount',
    slices.map(({ outcome }) => outcome?.totals),
  );
  const rows = slices.map(({ month, organization, tasks, outcome, requests }, index) => [
    month,
    organization,
    ...tasks.map(endOf),
    outcome === undefined ? '' : String(outcome.rows),
    amount.cells[index] ?? '',
    figuresOf(outcome),
    outcome === undefined && requests === 0 ? '' : `$${price(requests)}`,
  ]);
  return formatTable(
    ['month', 'organization', ...stages, 'rows', amount.head, 'figures', 'price'],
    rows,
    ['rows', amount.head, 'price'],
    { names: ['organization'] },
  );
}

/**
 * The same of many: a line for each group of months times organizations of which the same came, with their sums; what
 * failed stands first, then what was done, then what was there already.
 */
export function groupTable(slices: readonly SliceReport[]): string {
  const byEnd = new Map<string, SliceReport[]>();
  for (const slice of slices) {
    const end = `${endsOf(slice.tasks)} ${figuresOf(slice.outcome)}`;
    const same = byEnd.get(end);
    if (same === undefined) byEnd.set(end, [slice]);
    else same.push(slice);
  }
  const groups = [...byEnd.values()].flatMap((same) => products(same)).sort(byNews);
  const amount = amountColumn('amount', groups.map(totalsOf));
  const rows = groups.map((group, index) => {
    const { months, organizations } = subjectOf(...group);
    const [first] = group;
    const isEmpty = first?.outcome === undefined;
    const requests = requestsOf(group);
    return [
      counted(months),
      counted(organizations),
      first === undefined ? '' : shortly(first.tasks),
      isEmpty ? '' : String(group.reduce((sum, { outcome }) => sum + (outcome?.rows ?? 0), 0)),
      amount.cells[index] ?? '',
      figuresOf(first?.outcome),
      isEmpty && requests === 0 ? '' : `$${price(requests)}`,
    ];
  });
  return formatTable(
    ['months', 'organizations', 'stages', 'rows', amount.head, 'figures', 'price'],
    rows,
    ['rows', amount.head, 'price'],
    { names: ['organizations'] },
  );
}

/** How the stages ended, in one word where that is the same of all. */
function shortly(tasks: readonly TaskReport[]): string {
  const [end = '', ...others] = new Set(tasks.map(endOf));
  return others.length === 0 ? end : endsOf(tasks);
}

function figuresOf(outcome: Outcome | undefined): string {
  return outcome === undefined ? '' : outcome.provisional ? 'provisional' : 'final';
}

/** The exact sums of a group, by currency. */
function totalsOf(group: readonly SliceReport[]): Record<string, string> | undefined {
  const totals: Totals = new Map();
  for (const { outcome } of group)
    for (const [currency, sum] of Object.entries(outcome?.totals ?? {}))
      addTo(totals, currency, parseAmount(sum).units);
  return group[0]?.outcome === undefined ? undefined : formatTotals(totals);
}

/** Names in few words, their number first, which stays where they are cut: `37: 2023-10 … 2026-10`. */
function counted(names: readonly string[]): string {
  const sorted = [...names].sort();
  if (sorted.length < 3) return sorted.join(', ');
  return `${sorted.length}: ${sorted[0] ?? ''} … ${sorted.at(-1) ?? ''}`;
}

/** Which of two groups is sooner to be seen; of equal ones, that of the earlier month. */
function byNews(a: readonly SliceReport[], b: readonly SliceReport[]): number {
  const rank = (group: readonly SliceReport[]): number => {
    const states = group[0]?.tasks.map(({ state }) => state) ?? [];
    return states.includes('failed') ? 0 : states.includes('done') ? 1 : 2;
  };
  const month = (group: readonly SliceReport[]): string => group[0]?.month ?? '';
  return rank(a) - rank(b) || (month(a) < month(b) ? -1 : 1);
}
