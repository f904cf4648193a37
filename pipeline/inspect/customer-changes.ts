import type { Month } from '../shared/month.js';
import { printable } from '../shared/printable.js';
import { formatTable } from '../shared/table.js';
import type { CustomersOfSlice, FoundCustomers, MissingSlice } from './month-customers.js';
import { missingJson, missingLines } from './month-customers.js';

/**
 * What became of a customer from one month to another: `new`, `closed` (its state), `gone` (AWS lists it no more),
 * `moved` (to another organization), `renamed`, `reopened`, or `state`: any other change of its state.
 */
const kinds = ['new', 'closed', 'gone', 'moved', 'renamed', 'reopened', 'state'] as const;
type Kind = (typeof kinds)[number];

/** A change of one customer; one customer may have several. */
export interface CustomerChange {
  change: Kind;
  /** In which it is now, or was last. */
  organization: string;
  account: string;
  name: string;
  /** What it was and what it is: its name, its organization, or else its state; null where there was none. */
  before: string | null;
  after: string | null;
}

export interface CustomerChanges {
  from: Month;
  to: Month;
  /** Organizations that were compared. */
  compared: readonly string[];
  /** Those that were not, though both months are there, and why. */
  uncompared: readonly { organization: string; why: string }[];
  missing: readonly MissingSlice[];
  /** By kind, then by organization and account. */
  changes: readonly CustomerChange[];
}

/** States of an account that is on its way out, as the table customers has them (AWS Organizations, Account.State). */
const CLOSED = ['suspended', 'pending_closure', 'closed'];
const UNLISTED = 'unlisted';

/** A customer where it is in one month: name and state by organization. */
type Places = Map<string, { name: string; status: string }>;
const nowhere: Places = new Map();

/**
 * Compares the customers of two months. An organization that is missing in one of them is never taken for one
 * whose customers are all new or gone; but who left a compared one for it, or came from it, has moved.
 */
export function compareCustomers(found: FoundCustomers, from: Month, to: Month): CustomerChanges {
  const sideOf = (month: Month): Map<string, CustomersOfSlice> =>
    new Map(
      found.slices
        .filter((slice) => slice.month === month)
        .map((slice) => [slice.organization, slice]),
    );
  const [before, after] = [sideOf(from), sideOf(to)];
  const compared: string[] = [];
  const uncompared: { organization: string; why: string }[] = [];
  for (const [organization, old] of before) {
    const now = after.get(organization);
    if (now === undefined) continue;
    const why = whyUnlike(old, now);
    if (why === undefined) compared.push(organization);
    else uncompared.push({ organization, why });
  }
  const [was, is] = [placesOf(before.values()), placesOf(after.values())];
  const isListed = (organization: string): boolean =>
    after.get(organization)?.scope.listAccounts === true;
  const changes = [...new Set([...was.keys(), ...is.keys()])].flatMap((account) => {
    const places = [was.get(account) ?? nowhere, is.get(account) ?? nowhere] as const;
    const told = changesOf(...places, compared, isListed);
    return told.map((one): CustomerChange => ({ ...one, account }));
  });
  return { from, to, compared, uncompared, missing: found.missing, changes: changes.sort(byKind) };
}

/** Why the customers of two months of an organization are not of one kind; `undefined`: they are. */
function whyUnlike(old: CustomersOfSlice, now: CustomersOfSlice): string | undefined {
  const name = (view: string | null): string => view ?? "the organization's own cost";
  const [view, other] = [old.scope.billingViewArn, now.scope.billingViewArn];
  if (view !== other) return `${old.month} tells ${name(view)}, ${now.month} ${name(other)}`;
  if (old.scope.listAccounts !== now.scope.listAccounts)
    return `its accounts were listed in ${old.scope.listAccounts ? old.month : now.month} alone`;
  const isListed = ({ customers }: CustomersOfSlice): boolean =>
    customers.some(({ status }) => status !== UNLISTED);
  if (isListed(old) && !isListed(now)) return `no account of it is listed in ${now.month}`;
  return undefined;
}

/**
 * Where each account is. One that moved in mid-month has cost in two organizations: only the one that lists it counts.
 */
function placesOf(slices: Iterable<CustomersOfSlice>): Map<string, Places> {
  const all = new Map<string, Places>();
  for (const { organization, customers } of slices)
    for (const { account, name, status } of customers) {
      const places = all.get(account) ?? new Map<string, { name: string; status: string }>();
      all.set(account, places.set(organization, { name, status }));
    }
  for (const places of all.values()) {
    const listed = [...places].filter(([, { status }]) => status !== UNLISTED);
    if (listed.length > 0)
      for (const [organization, { status }] of places)
        if (status === UNLISTED) places.delete(organization);
  }
  return all;
}

type Change = Omit<CustomerChange, 'account'>;

/**
 * @param compared the organizations that can be compared.
 * @param isListed whether an organization lists its accounts: there one that has cost and is not listed is no new one.
 */
function changesOf(
  was: Places,
  is: Places,
  compared: readonly string[],
  isListed: (organization: string) => boolean,
): Change[] {
  const isCompared = (organization: string): boolean => compared.includes(organization);
  const left = [...was.keys()].filter((organization) => !is.has(organization));
  const came = [...is.keys()].filter((organization) => !was.has(organization));
  // Where both list it, it is on its way: the organization that has it now has it anew, the other one will lose it.
  const [whence] = was.keys();
  const moves = came
    .map((to, index) => ({ from: left[index] ?? whence ?? '', to }))
    .filter(({ from, to }) => was.size > 0 && (isCompared(from) || isCompared(to)));
  const stays = [...was.keys()].filter((one) => is.has(one) && isCompared(one));
  return [
    ...moves.map(({ from, to }): Change => {
      const name = is.get(to)?.name ?? '';
      return { change: 'moved', organization: to, name, before: from, after: to };
    }),
    ...[...moves, ...stays.map((one) => ({ from: one, to: one }))].flatMap(({ from, to }) => {
      const [old, now] = [was.get(from), is.get(to)];
      return old === undefined || now === undefined ? [] : differences(to, old, now, from !== to);
    }),
    ...(was.size > 0 ? [] : came).filter(isCompared).flatMap((organization): Change[] => {
      const { name = '', status: after = '' } = is.get(organization) ?? {};
      // Late cost of one that had gone before.
      if (after === UNLISTED && isListed(organization)) return [];
      return [{ change: 'new', organization, name, before: null, after }];
    }),
    // One that was not listed before had gone already.
    ...(is.size > 0 ? [] : left).filter(isCompared).flatMap((organization): Change[] => {
      const { name = '', status: before = '' } = was.get(organization) ?? {};
      if (before === UNLISTED) return [];
      return [{ change: 'gone', organization, name, before, after: null }];
    }),
  ];
}

function differences(
  organization: string,
  old: { name: string; status: string },
  now: { name: string; status: string },
  isMove: boolean,
): Change[] {
  const name = now.name === '' ? old.name : now.name;
  const [before, after] = [old.status, now.status];
  return [
    // A name that AWS no longer gives is no other name.
    ...(old.name !== '' && now.name !== '' && old.name !== now.name
      ? [{ change: 'renamed' as const, organization, name, before: old.name, after: now.name }]
      : []),
    // One that is listed where it has moved to is no new one.
    ...(before === after || (isMove && before === UNLISTED)
      ? []
      : [{ change: kindOf(before, after), organization, name, before, after }]),
  ];
}

/** What a change of state is. */
function kindOf(before: string, after: string): Kind {
  if (after === UNLISTED) return 'gone';
  if (before === UNLISTED) return 'new';
  const [wasClosed, isClosed] = [CLOSED.includes(before), CLOSED.includes(after)];
  if (wasClosed === isClosed) return 'state';
  return isClosed ? 'closed' : 'reopened';
}

function byKind(a: CustomerChange, b: CustomerChange): number {
  const keyOf = ({ change, organization, account }: CustomerChange): string =>
    `${kinds.indexOf(change)} ${organization} ${account}`;
  return keyOf(a) < keyOf(b) ? -1 : 1;
}

/** The changes as people read them. */
export function formatCustomerChanges(found: CustomerChanges): string {
  const { from, to, compared, changes } = found;
  const counts = kinds.flatMap((kind) => {
    const count = changes.filter(({ change }) => change === kind).length;
    return count === 0 ? [] : [`${count} ${kind}`];
  });
  const head = ['change', 'organization', 'account', 'name', 'before', 'after'];
  const rows = changes.map(({ change, organization, account, name, before, after }) => [
    ...[change, organization, account, name, before ?? '-', after ?? '-'],
  ]);
  return [
    ...(changes.length === 0
      ? []
      : [formatTable(head, rows, [], { names: ['organization', 'name', 'before', 'after'] }), '']),
    `customers from ${from} to ${to}: ${counts.length === 0 ? 'no change' : counts.join(', ')}; compared: ${compared.length === 0 ? 'none' : compared.join(', ')}`,
    ...notesOf(found),
  ].join('\n');
}

/** Which organizations were not compared, and why. */
function notesOf({ uncompared, missing }: CustomerChanges): string[] {
  return [
    ...uncompared.map(({ organization, why }) =>
      printable(`${organization} is not compared: ${why}`),
    ),
    ...missingLines(missing).map((line) => `not compared: ${line}`),
  ];
}

/** The same as one JSON document. */
export function customerChangesToJson({ missing, ...found }: CustomerChanges): object {
  return { ...found, missing: missingJson(missing) };
}

/** The rows of that document. */
export function customerChangesTable(found: CustomerChanges) {
  const { from, to, changes } = found;
  return {
    columns: ['from', 'to', 'change', 'organization', 'account', 'name', 'before', 'after'],
    rows: changes.map((change) => ({ from, to, ...change })),
    notes: notesOf(found),
  };
}
