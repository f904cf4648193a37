import { findSource, readTable } from '../../load/source.js';
import { absentSlices } from '../run/known-organizations.js';
import type { NextRun } from '../shared/commands.js';
import {
  advice,
  describeSlices,
  nextRun,
  products,
  shownCommand,
  subjectOf,
} from '../shared/commands.js';
import { ConfigurationError, DataError, throwIfInterrupted } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { isProvisional } from '../shared/provisional.js';
import type { Scope } from '../shared/scope.js';
import type { Totals } from '../shared/sums.js';
import { addTo, formatTotals } from '../shared/sums.js';
import { amountColumn, formatTable } from '../shared/table.js';
import { valueAt } from '../staging/batch.js';
import { stagedSlices } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { billedRows } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { columnIndex } from '../staging/tables.js';
import { checkMonths, checkOrganizations } from './chosen.js';

export interface CustomersRequest {
  staging: Staging;
  months: readonly Month[];
  /** `undefined`: every organization. */
  organizations: readonly string[] | undefined;
  provisionalDays: number;
  now: Date;
  signal: AbortSignal;
}

/** An account as the table customers has it, with what it cost. */
export interface ListedCustomer {
  account: string;
  /** '' where AWS no longer gives it. */
  name: string;
  /** As the table has it: `active`, `closed`, `unlisted` … */
  status: string;
  /** Its Amount, by currency; empty: no cost. */
  amount: Totals;
}

/** The customers of a month of an organization. */
export interface CustomersOfSlice extends Slice {
  /** What the month was asked for: of which view, and whether the accounts were listed. */
  scope: Scope;
  provisional: boolean;
  /** In the order of the table. */
  customers: readonly ListedCustomer[];
}

/** A month of an organization that should be there, and the run that makes it. */
export interface MissingSlice extends Slice {
  command: NextRun;
}

export interface FoundCustomers {
  slices: readonly CustomersOfSlice[];
  missing: readonly MissingSlice[];
}

/**
 * Reads the customers of some months from the exports, and what each cost. An organization of one of these months, or
 * of those around, whose month is not there is named among the missing ones.
 * @throws {DataError} when nothing is staged or exported for a month, or a staged file is missing or altered.
 * @throws {UsageError} on an organization of which nothing is staged.
 */
export async function findCustomers(request: CustomersRequest): Promise<FoundCustomers> {
  const { staging, months, organizations, now } = request;
  const everything = await stagedSlices(staging);
  const staged = everything.filter(({ slice }) => months.includes(slice.month));
  const stagedMonths = [...new Set(staged.map(({ slice }) => slice.month))];
  checkMonths(staging.location, stagedMonths, months);
  const names = [...new Set(staged.map(({ slice }) => slice.organization))].sort();
  checkOrganizations(names, organizations);
  const unasked = new ConfigurationError('the exports alone are asked');
  const around = absentSlices(
    { entries: [], unasked },
    everything.map(({ slice }) => slice),
    months,
    organizations,
    now,
  ).slices;
  const slices: CustomersOfSlice[] = [];
  const missing: MissingSlice[] = [];
  for (const month of months) {
    const expected = [
      ...(organizations ?? names),
      ...around.filter((one) => one.month === month).map(({ organization }) => organization),
    ];
    for (const organization of [...new Set(expected)].sort()) {
      throwIfInterrupted(request.signal);
      const slice = { month, organization };
      const there = staged.find(
        (one) => one.slice.month === month && one.slice.organization === organization,
      );
      if (there?.transformed === true) slices.push(await readSlice(request, slice));
      else
        missing.push({
          ...slice,
          command: nextRun(there?.survey.current === undefined ? [] : ['transform']),
        });
    }
  }
  const empty = months.filter((month) => slices.every((slice) => slice.month !== month));
  if (empty.length > 0) {
    const lacking = missing.filter(({ month }) => empty.includes(month));
    const isStaged = lacking.every(({ command: { stages = [] } }) => stages.length > 0);
    throw new DataError(`nothing is exported for ${empty.join(', ')}`, {
      where: staging.location,
      ...advice('make the tables with', {
        ...nextRun(isStaged ? ['transform'] : []),
        ...subjectOf(...lacking),
      }),
    });
  }
  return { slices, missing };
}

async function readSlice(
  { staging, provisionalDays, signal }: CustomersRequest,
  slice: Slice,
): Promise<CustomersOfSlice> {
  const source = await findSource(staging, slice);
  const { manifest } = source;
  const customers = new Map<string, ListedCustomer>();
  const wanted = ['Reference', 'TenantName', 'Status'] as const;
  for await (const { length, columns } of readTable(staging, source, 'customers', wanted)) {
    const [references, names, states] = wanted.map(
      (name) => columns[columnIndex('customers', name)],
    );
    for (let row = 0; row < length; row++) {
      const account = String(valueAt(references, row));
      const [name, status] = [String(valueAt(names, row)), String(valueAt(states, row))];
      customers.set(account, { account, name, status, amount: new Map() });
    }
  }
  // Rows of the cost view alone, the last ones, are nothing that AWS billed.
  let billed = billedRows(manifest);
  const costs = ['Reference', 'Currency', 'Amount'] as const;
  for await (const { length, columns } of readTable(staging, source, 'consumption', costs)) {
    throwIfInterrupted(signal);
    const [references, currencies, amounts] = costs.map(
      (name) => columns[columnIndex('consumption', name)],
    );
    for (let row = 0; row < Math.min(length, billed); row++) {
      const customer = customers.get(String(valueAt(references, row)));
      if (customer === undefined) continue;
      addTo(customer.amount, String(valueAt(currencies, row)), BigInt(valueAt(amounts, row) ?? 0));
    }
    billed -= length;
  }
  return {
    ...slice,
    scope: manifest.scope,
    provisional: isProvisional({ ...manifest, provisionalDays }),
    customers: [...customers.values()],
  };
}

/** Which months of which organizations are missing, each with the command that brings them. */
export function missingLines(missing: readonly MissingSlice[]): string[] {
  return missingGroups(missing).map(({ slices, next }) => {
    const them = slices.length === 1 ? 'is' : 'are';
    return `${describeSlices(slices)} ${them} not there; make ${slices.length === 1 ? 'it' : 'them'} with "${next}"`;
  });
}

function missingGroups(missing: readonly MissingSlice[]) {
  const kinds = new Map<string, MissingSlice[]>();
  for (const one of missing) {
    const kind = one.command.stages?.join() ?? '';
    kinds.set(kind, [...(kinds.get(kind) ?? []), one]);
  }
  return [...kinds.values()].flatMap((some) =>
    products(some).map((slices) => ({
      slices,
      next: shownCommand({ ...slices[0]?.command, ...subjectOf(...slices) }),
    })),
  );
}

/** The missing ones of a JSON document. */
export function missingJson(missing: readonly MissingSlice[]): object[] {
  return missing.map(({ month, organization, command }) => ({
    month,
    organization,
    next: shownCommand({ ...command, ...subjectOf({ month, organization }) }),
  }));
}

/** Every customer of every month as a row; amounts are decimal texts, an empty one is no cost. */
function rowsOf(slices: readonly CustomersOfSlice[]) {
  return slices.flatMap(({ month, organization, provisional, customers }) =>
    customers.map(({ account, name, status, amount }) => ({
      ...{ month, organization, account, name, status },
      amount: formatTotals(amount),
      provisional,
    })),
  );
}

/** The customers as people read them. */
export function formatCustomers({ slices, missing }: FoundCustomers): string {
  const all = rowsOf(slices);
  const amounts = amountColumn(
    'amount',
    all.map(({ amount }) => (Object.keys(amount).length === 0 ? undefined : amount)),
  );
  const head = ['month', 'organization', 'account', 'name', 'status', amounts.head];
  const rows = all.map(({ month, organization, account, name, status }, index) => [
    ...[month, organization, account, name, status],
    amounts.cells[index] ?? '',
  ]);
  const open = slices.filter(({ provisional }) => provisional);
  return [
    formatTable(head, rows, [amounts.head], { names: ['organization', 'name'] }),
    '',
    `${all.length} ${all.length === 1 ? 'customer' : 'customers'}, ${all.filter(({ amount }) => Object.keys(amount).length === 0).length} without cost`,
    ...(open.length === 0
      ? []
      : [`provisional, so AWS may still change it: ${describeSlices(open)}`]),
    ...missingLines(missing),
  ].join('\n');
}

/** The same as one JSON document. */
export function customersToJson({ slices, missing }: FoundCustomers): object {
  return { customers: rowsOf(slices), missing: missingJson(missing) };
}

/** The rows of that document. */
export function customersTable({ slices, missing }: FoundCustomers) {
  return {
    columns: ['month', 'organization', 'account', 'name', 'status', 'amount.*', 'provisional'],
    rows: rowsOf(slices),
    notes: missingLines(missing),
  };
}
