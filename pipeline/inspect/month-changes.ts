import { z } from 'zod';
import type { Customers } from '../../transform/customer-rows.js';
import { addUnlisted, readCustomers } from '../../transform/customer-rows.js';
import { readExtraction } from '../../transform/staged-pages.js';
import { UsageError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { isProvisional } from '../shared/provisional.js';
import type { Detail } from '../shared/scope.js';
import type { Totals, TotalsText } from '../shared/sums.js';
import { addTo, difference } from '../shared/sums.js';
import type { Threshold } from '../shared/threshold.js';
import { reaches } from '../shared/threshold.js';
import type { RowBatch } from '../staging/batch.js';
import { valueAt } from '../staging/batch.js';
import { survey } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { extractionName } from '../staging/layout.js';
import { isCostPage, readExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { columnIndex } from '../staging/tables.js';
import { readConsumption } from './staged-rows.js';

export interface ChangesRequest {
  staging: Staging;
  month: Month;
  organizations: readonly string[];
  /** Compare the newest extraction at or before this moment; default: the one before `until`'s. */
  since: string | undefined;
  /** … with the newest at or before this one; default: the newest. */
  until: string | undefined;
  /** Only the account of this id or name; `undefined`: all. */
  customer?: string | undefined;
  /** Only the changes that reach every one of them; none: all. */
  thresholds?: readonly Threshold[];
  provisionalDays: number;
  signal: AbortSignal;
}

/** One of the two extractions that are compared. */
export interface Side {
  extraction: string;
  /** ISO 8601 instant at which it was finished. */
  fetched: string;
  provisional: boolean;
  detail: Detail;
}

/** An organization's sum before and after. */
export interface TotalChange {
  currency: string;
  before: Units;
  after: Units;
  difference: Units;
}

/** An organization's cost by its cost view before and after; `uncompared` says why they are not held together. */
export type CostChanges =
  | { uncompared: string }
  | {
      uncompared?: undefined;
      before: TotalsText;
      after: TotalsText;
      difference: TotalsText;
    };

/** A cost that is not what it was. */
export interface Change {
  account: string;
  /** The account's name, '' where neither extraction tells it. */
  name: string;
  service: string;
  currency: string;
  change: 'appeared' | 'vanished' | 'changed';
  /** `undefined`: the account had no such cost. */
  before: Units | undefined;
  after: Units | undefined;
  difference: Units;
}

/** How an organization's month changed from one extraction to another. */
export type OrganizationChanges =
  | {
      organization: string;
      uncompared: string;
      /** Requests that a further extraction takes, as the only one took them. */
      requests?: number;
    }
  | {
      organization: string;
      uncompared?: undefined;
      since: Side;
      until: Side;
      /** Of the whole organization, or of the one customer. */
      totals: readonly TotalChange[];
      /** What became of the cost by the cost view; absent where neither extraction has it, or of one customer. */
      cost?: CostChanges | undefined;
      /** Those that reach every threshold, largest absolute difference first. */
      changes: readonly Change[];
      /** How many more there are that do not. */
      belowThreshold: number;
    };

/** What changed, and whose changes they are. */
export interface MonthChanges {
  organizations: readonly OrganizationChanges[];
  /** The one customer that was asked for. */
  customer: Customer | undefined;
  /** What a change had to reach to be among them; none: nothing. */
  thresholds: readonly Threshold[];
}

interface Customer {
  account: string;
  name: string;
}

/**
 * Compares two extractions of the month, organization by organization, from the staged pages alone.
 * @throws {DataError} when a staged file is missing, altered or wrong. @throws {UsageError} when the customer is not
 * among those of what was compared, or its name is several customers'.
 */
export async function findChanges(request: ChangesRequest): Promise<MonthChanges> {
  const { staging, month, customer } = request;
  const organizations: OrganizationChanges[] = [];
  const chosen = new Map<string, Customer>();
  const near = new Map<string, Customer>();
  for (const organization of request.organizations) {
    const slice = { month, organization };
    const { finished: extractions } = await survey(staging, slice);
    const pair = choosePair(extractions, request);
    if (typeof pair === 'string') {
      const [only = ''] = extractions;
      const manifest =
        extractions.length === 1
          ? (await readExtractionManifest(staging, slice, only))?.manifest
          : undefined;
      // What a whole fetch takes: of pages that this one took over, too.
      const requests = manifest && {
        requests: manifest.pages.filter(({ file }) => isCostPage(file)).length,
      };
      organizations.push({ organization, uncompared: pair, ...requests });
      continue;
    }
    const { changes, customers } = await compare(request, slice, pair);
    for (const one of customers)
      (isMeant(one, customer ?? '') ? chosen : near).set(one.account, one);
    const isThere = customers.some((one) => isMeant(one, customer ?? ''));
    if (customer === undefined || isThere || changes.uncompared !== undefined)
      organizations.push(changes);
  }
  const isCompared = organizations.length < request.organizations.length || chosen.size > 0;
  if (customer !== undefined && isCompared)
    checkOne(customer, [...chosen.values()], [...near.values()]);
  const { thresholds = [] } = request;
  return { organizations, customer: [...chosen.values()][0], thresholds };
}

/** Most customers that a message names. */
const NAMED = 5;

/** @param near those whose name has in it what was asked for. */
function checkOne(asked: string, found: readonly Customer[], near: readonly Customer[]): void {
  if (found.length === 1) return;
  const told = near.slice(0, NAMED).map(({ account, name }) => `${account} (${name})`);
  const more = near.length > NAMED ? ` and ${near.length - NAMED} more` : '';
  if (found.length === 0)
    throw new UsageError(
      `no customer of what was compared is called ${JSON.stringify(asked)}, or has it for its id`,
      {
        where: '--customer',
        next:
          told.length === 0
            ? 'give an account id of 12 digits, or the whole name as the table customers has it'
            : `give an account id: ${told.join(', ')}${more}`,
      },
    );
  throw new UsageError(`${found.length} customers are called ${JSON.stringify(asked)}`, {
    where: '--customer',
    next: `give the account id of one: ${found.map(({ account }) => account).join(', ')}`,
  });
}

interface Pair {
  since: string;
  until: string;
}

/** The two extractions to compare, of names that ascend, or why there are not two. */
function choosePair(
  extractions: readonly string[],
  { since, until }: Pick<ChangesRequest, 'since' | 'until'>,
): Pair | string {
  const [first] = extractions;
  if (first === undefined) return 'it has no finished extraction';
  const newer = until === undefined ? extractions.at(-1) : newestUntil(extractions, until);
  if (newer === undefined) return `its first extraction, ${first}, is later than --until`;
  if (extractions.length === 1) return `it has one extraction only, ${first}`;
  const older =
    since === undefined
      ? extractions[extractions.indexOf(newer) - 1]
      : newestUntil(extractions, since);
  if (older === undefined) {
    return since === undefined
      ? `it has no extraction before ${newer}`
      : `its first extraction, ${first}, is later than --since`;
  }
  if (older >= newer) return `it has no extraction between --since and --until but ${newer}`;
  return { since: older, until: newer };
}

async function compare(
  request: ChangesRequest,
  slice: Slice,
  pair: Pair,
): Promise<{ changes: OrganizationChanges; customers: readonly Customer[] }> {
  const { organization } = slice;
  const costs: Costs = new Map();
  const since = await readCosts(request, slice, pair.since, costs, 'before');
  const until = await readCosts(request, slice, pair.until, costs, 'after');
  if (since.view !== until.view) {
    const name = (view: string | null): string => view ?? "the organization's own cost";
    const uncompared = `${pair.since} tells ${name(since.view)}, ${pair.until} ${name(until.view)}`;
    return { changes: { organization, uncompared }, customers: [] };
  }
  const nameOf = (account: string): string =>
    until.names.get(account)?.name || since.names.get(account)?.name || '';
  const { customer: asked = '' } = request;
  const customers =
    request.customer === undefined
      ? []
      : [...new Set([...since.names.keys(), ...until.names.keys()])]
          .map((account) => ({ account, name: nameOf(account) }))
          .filter((one) => isMeant(one, asked) || isNear(one, asked));
  const isChosen = ({ account }: Cost): boolean =>
    request.customer === undefined ||
    customers.some((one) => one.account === account && isMeant(one, asked));
  const chosen = [...costs.values()].filter(isChosen);
  const changes = chosen
    .filter(({ before, after }) => before !== after)
    .map(({ before, after, ...place }): Change => {
      return {
        ...place,
        name: nameOf(place.account),
        change: before === undefined ? 'appeared' : after === undefined ? 'vanished' : 'changed',
        before,
        after,
        difference: (after ?? 0n) - (before ?? 0n),
      };
    });
  const { thresholds = [] } = request;
  // Without one also a cost that came or went with an amount of 0 is told.
  const reached =
    thresholds.length === 0 ? changes : changes.filter((change) => reaches(change, thresholds));
  return {
    changes: {
      organization,
      since: since.side,
      until: until.side,
      totals: totalChanges(chosen),
      cost: request.customer === undefined ? costChanges(since.cost, until.cost) : undefined,
      changes: reached.sort(bySize),
      belowThreshold: changes.length - reached.length,
    },
    customers,
  };
}

function costChanges(since: CostSide, until: CostSide): CostChanges | undefined {
  if (since.totals === undefined && until.totals === undefined) return undefined;
  if (since.totals === undefined || until.totals === undefined || since.view !== until.view) {
    const name = ({ view, totals }: CostSide): string =>
      totals === undefined ? 'no cost view' : (view ?? '');
    return { uncompared: `${name(since)} before, ${name(until)} after` };
  }
  const [before, after] = [since.totals, until.totals];
  return { before, after, difference: difference(after, before) };
}

function isNear({ name }: Customer, asked: string): boolean {
  return name.toLowerCase().includes(asked.toLowerCase());
}

function isMeant({ account, name }: Customer, asked: string): boolean {
  return account === asked || name.toLowerCase() === asked.toLowerCase();
}

/** What one service cost one account, in the older extraction and in the newer one. */
type Cost = Pick<Change, 'account' | 'service' | 'currency' | 'before' | 'after'>;

/** What the reseller paid by one extraction. */
interface CostSide {
  view: string | null;
  /** Undefined where the cost view was not asked, or not had. */
  totals: TotalsText | undefined;
}

/**
 * By account, currency and service. The rows of several usage types of a service add up, so that
 * extractions of either detail can be compared.
 */
type Costs = Map<string, Cost>;

/** Adds every cost of a finished extraction to one side, see {@link readConsumption}. */
async function readCosts(
  { staging, month, provisionalDays, signal }: ChangesRequest,
  slice: Slice,
  extraction: string,
  costs: Costs,
  side: 'before' | 'after',
): Promise<{ side: Side; view: string | null; cost: CostSide; names: Customers }> {
  const { manifest } = await readExtraction(staging, slice, extraction);
  const staged = { staging, slice, manifest };
  const customers = await readCustomers(staged, signal);
  // Rows of the cost view alone, the last ones, are nothing that AWS billed.
  let billed = manifest.groups;
  const tally = await readConsumption(staged, signal, (batch) => {
    addCosts(batch, Math.min(batch.length, billed), costs, side);
    billed -= batch.length;
  });
  const { accounts } = tally;
  addUnlisted(customers, accounts);
  const { estimated, finished: fetched, scope } = manifest;
  const provisional = isProvisional({ month, estimated, fetched, provisionalDays });
  return {
    side: { extraction, fetched, provisional, detail: scope.detail },
    view: scope.billingViewArn,
    cost: {
      view: scope.costViewArn,
      totals: manifest.costView?.totals,
    },
    names: customers,
  };
}

function addCosts(
  { columns }: RowBatch,
  length: number,
  costs: Costs,
  side: 'before' | 'after',
): void {
  const [accounts, services, currencies, amounts] = (
    ['Reference', 'Service', 'Currency', 'Amount'] as const
  ).map((name) => columns[columnIndex('consumption', name)]);
  for (let row = 0; row < length; row++) {
    const place = {
      account: String(valueAt(accounts, row)),
      service: String(valueAt(services, row)),
      currency: String(valueAt(currencies, row)),
    };
    // Neither an account's id nor a currency has a space in it.
    const key = `${place.account} ${place.currency} ${place.service}`;
    const cost = costs.get(key) ?? { ...place, before: undefined, after: undefined };
    costs.set(key, cost);
    cost[side] = (cost[side] ?? 0n) + BigInt(valueAt(amounts, row) ?? 0);
  }
}

function totalChanges(costs: readonly Cost[]): TotalChange[] {
  const before: Totals = new Map();
  const after: Totals = new Map();
  for (const cost of costs) {
    addTo(before, cost.currency, cost.before ?? 0n);
    addTo(after, cost.currency, cost.after ?? 0n);
  }
  return [...before]
    .sort(([a], [b]) => compareValues(a, b))
    .map(([currency, old]) => {
      const now = after.get(currency) ?? 0n;
      return { currency, before: old, after: now, difference: now - old };
    });
}

function bySize(a: Change, b: Change): number {
  return (
    compareValues(magnitude(b.difference), magnitude(a.difference)) ||
    compareValues(a.account, b.account) ||
    compareValues(a.service, b.service) ||
    compareValues(a.currency, b.currency)
  );
}

function magnitude(units: Units): Units {
  return units < 0n ? -units : units;
}

function compareValues<T extends string | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const date = z.iso.date();
const instant = z.iso.datetime({ offset: true });

/**
 * Reads a moment in the history of a month's extractions: an extraction's name (`20261101T020304Z`),
 * an instant in ISO 8601, or a date, which stands for the end of its day in UTC.
 * @returns the name of an extraction of that moment: names sort by time.
 * @throws {UsageError} on any other text.
 */
export function parseMoment(text: string): string {
  const named = text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
  if (date.safeParse(named).success) return extractionName(new Date(`${named}T23:59:59Z`));
  if (instant.safeParse(named).success) return extractionName(new Date(named));
  throw new UsageError(`"${text}" is neither an extraction nor a date`, {
    next: 'write it as 20261101T020304Z, 2026-11-01 or 2026-11-01T02:03:04Z',
  });
}

/** The newest extraction at or before a moment, of names that ascend; `undefined` when all are later. */
export function newestUntil(extractions: readonly string[], moment: string): string | undefined {
  return extractions.filter((name) => name <= moment).at(-1);
}
