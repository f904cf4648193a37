import { z } from 'zod';
import { checkTally } from '../../transform/checks.js';
import { valueAt } from '../staging/batch.js';
import type { RowBatch } from '../staging/batch.js';
import { consumptionBatches, emptyTally } from '../../transform/consumption.js';
import type { Customers } from '../../transform/customers.js';
import { addUnlisted, readCustomers } from '../../transform/customers.js';
import { readExtraction } from '../../transform/staged-pages.js';
import { UsageError } from '../shared/errors.js';
import type { Units } from '../shared/money.js';
import { parseAmount } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { billingPeriod } from '../shared/month.js';
import { isProvisional } from '../shared/provisional.js';
import type { Detail } from '../shared/scope.js';
import { survey } from '../staging/extractions.js';
import type { Slice } from '../staging/layout.js';
import { extractionName } from '../staging/layout.js';
import type { ExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { columnIndex } from '../staging/tables.js';

export interface ChangesRequest {
  staging: Staging;
  month: Month;
  organizations: readonly string[];
  /** Compare the newest extraction at or before this moment; default: the one before `until`'s. */
  since: string | undefined;
  /** … with the newest at or before this one; default: the newest. */
  until: string | undefined;
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
  | { organization: string; uncompared: string }
  | {
      organization: string;
      uncompared?: undefined;
      since: Side;
      until: Side;
      totals: readonly TotalChange[];
      /** Largest absolute difference first. */
      changes: readonly Change[];
    };

/**
 * Compares two extractions of the month, organization by organization, from the staged pages alone.
 * @throws {DataError} when a staged file is missing, altered or wrong.
 */
export async function findChanges(request: ChangesRequest): Promise<OrganizationChanges[]> {
  const found: OrganizationChanges[] = [];
  for (const organization of request.organizations) {
    const slice = { month: request.month, organization };
    const { finished } = await survey(request.staging, slice);
    const pair = choosePair(finished, request);
    found.push(
      typeof pair === 'string'
        ? { organization, uncompared: pair }
        : await compare(request, slice, pair),
    );
  }
  return found;
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
): Promise<OrganizationChanges> {
  const { staging, signal } = request;
  const former = costsByPlace();
  const changes: Omit<Change, 'name'>[] = [];
  const newer = costsByPlace();
  const before = await readCosts(staging, slice, pair.since, signal, former.add);
  const after = await readCosts(staging, slice, pair.until, signal, newer.add);
  const [viewBefore, viewAfter] = [before, after].map(
    ({ manifest }) => manifest.scope.billingViewArn,
  );
  if (viewBefore !== viewAfter) {
    const name = (view: string | null | undefined): string => view ?? "the organization's own cost";
    const uncompared = `${pair.since} tells ${name(viewBefore)}, ${pair.until} ${name(viewAfter)}`;
    return { organization: slice.organization, uncompared };
  }
  for (const cost of newer.rest()) {
    const old = former.take(cost);
    if (old === cost.amount) continue;
    changes.push({
      ...placeOf(cost),
      change: old === undefined ? 'appeared' : 'changed',
      before: old,
      after: cost.amount,
      difference: cost.amount - (old ?? 0n),
    });
  }
  for (const { amount, ...place } of former.rest()) {
    changes.push({
      ...place,
      change: 'vanished',
      before: amount,
      after: undefined,
      difference: -amount,
    });
  }
  const name = (account: string): string => nameIn(after, account) || nameIn(before, account);
  return {
    organization: slice.organization,
    since: sideOf(request, before.manifest),
    until: sideOf(request, after.manifest),
    totals: totalChanges(before.manifest, after.manifest),
    changes: changes.sort(bySize).map((change) => ({ ...change, name: name(change.account) })),
  };
}

function placeOf({ account, service, currency }: Cost): Omit<Cost, 'amount'> {
  return { account, service, currency };
}

/**
 * Costs by account, service and currency, to be taken out one by one. The rows of several usage types of a
 * service add up, so that extractions of either detail can be compared.
 */
function costsByPlace(): {
  add: (cost: Cost) => void;
  take: (place: Omit<Cost, 'amount'>) => Units | undefined;
  rest: () => Generator<Cost>;
} {
  const places = new Map<string, Map<string, Map<string, Units>>>();
  return {
    add({ account, service, currency, amount }) {
      const services = places.get(currency) ?? new Map<string, Map<string, Units>>();
      const accounts = services.get(service) ?? new Map<string, Units>();
      places.set(
        currency,
        services.set(service, accounts.set(account, (accounts.get(account) ?? 0n) + amount)),
      );
    },
    take({ account, service, currency }) {
      const accounts = places.get(currency)?.get(service);
      const amount = accounts?.get(account);
      accounts?.delete(account);
      return amount;
    },
    *rest() {
      for (const [currency, services] of places)
        for (const [service, accounts] of services)
          for (const [account, amount] of accounts) yield { account, service, currency, amount };
    },
  };
}

function nameIn({ customers }: ReadExtraction, account: string): string {
  return customers.get(account)?.name ?? '';
}

function sideOf({ month, provisionalDays }: ChangesRequest, manifest: ExtractionManifest): Side {
  const { extraction, estimated, finished: fetched } = manifest;
  const provisional = isProvisional({ month, estimated, fetched, provisionalDays });
  return { extraction, fetched, provisional, detail: manifest.scope.detail };
}

function totalChanges(
  { totals: before }: ExtractionManifest,
  { totals: after }: ExtractionManifest,
): TotalChange[] {
  const units = (amount = '0'): Units => parseAmount(amount).units;
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().map((currency) => {
    const [old, now] = [units(before[currency]), units(after[currency])];
    return { currency, before: old, after: now, difference: now - old };
  });
}

type Sortable = Omit<Change, 'name'>;

function bySize(a: Sortable, b: Sortable): number {
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

/** Characters that take two cells of a terminal, and marks that take none. */
const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\uff01-\uff60]/gu;
const marks = /[\p{Mn}\p{Me}\u200d]/gu;

/**
 * The lines of a table that may be long: columns two spaces apart, the named ones to the right. Its time
 * grows with its rows only, unlike that of a table that wraps its cells.
 */
export function* alignedLines(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[],
): Generator<string> {
  const widths = head.map(widthOf);
  for (const row of rows)
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
    });
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const space = ' '.repeat((widths[column] ?? 0) - widthOf(cell));
        return right.includes(head[column] ?? '') ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  yield line(head);
  for (const row of rows) yield line(row);
}

function widthOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  const count = (pattern: RegExp): number => text.match(pattern)?.length ?? 0;
  return Array.from(text).length + count(wide) - count(marks);
}

/** What one service cost one account. */
export interface Cost {
  account: string;
  service: string;
  amount: Units;
  currency: string;
}

/** An extraction that has been read through. */
export interface ReadExtraction {
  manifest: ExtractionManifest;
  /** Every account that is listed or has cost. */
  customers: Customers;
}

/**
 * Hands over every cost of a finished extraction, one after the other, checked as the transform stage
 * checks it: pages against the manifest, each account and service once, rows and sums.
 * @throws {DataError} when a staged file is missing, altered or wrong.
 */
export async function readCosts(
  staging: Staging,
  slice: Slice,
  extraction: string,
  signal: AbortSignal,
  take: (cost: Cost) => void,
): Promise<ReadExtraction> {
  const { manifest } = await readExtraction(staging, slice, extraction);
  const staged = { staging, slice, manifest };
  const stamp = {
    tag: '',
    billingPeriod: billingPeriod(slice.month),
    organization: slice.organization,
  };
  const customers = await readCustomers(staged, signal);
  const tally = emptyTally();
  for await (const batch of consumptionBatches(staged, stamp, tally, signal))
    for (const cost of costsOf(batch)) take(cost);
  checkTally(staged, tally);
  addUnlisted(customers, tally.accounts);
  return { manifest, customers };
}

function* costsOf({ columns, length }: RowBatch): Generator<Cost> {
  const column = (name: string) => columns[columnIndex('consumption', name)];
  const [accounts, services] = [column('Reference'), column('Service')];
  const [amounts, currencies] = [column('Amount'), column('Currency')];
  for (let row = 0; row < length; row++) {
    yield {
      account: String(valueAt(accounts, row)),
      service: String(valueAt(services, row)),
      amount: BigInt(valueAt(amounts, row) ?? 0),
      currency: String(valueAt(currencies, row)),
    };
  }
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
