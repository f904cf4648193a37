import { constant } from '../pipeline/staging/batch.js';
import type { RowBatch } from '../pipeline/staging/batch.js';
import { DataError } from '../pipeline/shared/errors.js';
import type { Log } from '../pipeline/shared/log.js';
import { until } from '../pipeline/shared/waits.js';
import { accountIdFault } from '../pipeline/staging/answers.js';
import type { CurrentExtraction, CurrentOf } from '../pipeline/staging/extractions.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { transformManifestKey } from '../pipeline/staging/layout.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import { serializeManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { sha256Of } from '../pipeline/staging/staging.js';
import { columnOf, customers } from '../pipeline/staging/tables.js';
import type { Stamp } from './columns.js';
import { batchOf } from './columns.js';
import type { AccountsPage, CostPage, FinishedExtraction } from './staged-pages.js';
import {
  accountsPages,
  checkAccountId,
  checkLength,
  readExtraction,
  rowFault,
} from './staged-pages.js';

/** What a `customers` row says of its account; the other columns are the same for every row. */
interface Customer {
  name: string;
  email: string;
  status: string;
  /** Milliseconds since 1970-01-01 UTC. */
  created: number | null;
}

/** Customers by account id. */
export type Customers = Map<string, Customer>;

const columns = {
  name: columnOf('customers', 'TenantName'),
  email: columnOf('customers', 'Email'),
  status: columnOf('customers', 'Status'),
};

/**
 * The accounts that an extraction lists.
 * @throws {DataError} when a page is missing, altered or wrong.
 */
export async function readCustomers(
  extraction: FinishedExtraction,
  signal: AbortSignal,
): Promise<Customers> {
  const customers: Customers = new Map();
  for await (const page of accountsPages(extraction, signal)) addAccounts(customers, page);
  return customers;
}

/**
 * Adds the accounts of a page; of an account listed twice, the first stays.
 * `State` replaced `Status` in Organizations on 2026-09-09; older answers have only `Status`.
 * @throws {DataError} naming file and row of an account without a right id or with too long a text.
 */
function addAccounts(found: Customers, { where, accounts }: AccountsPage): void {
  for (const [index, account] of accounts.entries()) {
    const row = { where, row: index + 1 };
    const { Id: id } = account;
    if (id === undefined) throw rowFault(row, 'has no account id');
    checkAccountId(id, row);
    if (found.has(id)) continue;
    found.set(id, {
      name: checkLength(columns.name, account.Name ?? '', row),
      email: checkLength(columns.email, account.Email ?? '', row),
      status: checkLength(
        columns.status,
        (account.State ?? account.Status ?? '').toLowerCase(),
        row,
      ),
      created: account.JoinedTimestamp === undefined ? null : Date.parse(account.JoinedTimestamp),
    });
  }
}

/** Takes note of the account names that Cost Explorer tells beside its groups. */
export function addNames(names: Map<string, string>, { where, descriptions }: CostPage): void {
  for (const [index, attributes] of descriptions.entries()) {
    const { Value: id, Attributes: { description: name } = {} } = attributes;
    // Page after page names the same accounts, and other dimensions' values stand in the same list.
    if (id === undefined || name === undefined || names.get(id) === name) continue;
    if (accountIdFault(id) === undefined)
      names.set(id, checkLength(columns.name, name, { where, row: index + 1 }));
  }
}

/**
 * Adds a customer for every account that has consumption but is not listed (any more), so that no cost
 * is without a customer.
 * @param named Account id → name as Cost Explorer gives it, or ''.
 * @param elsewhere What other organizations list of these accounts: their newer name, and their address.
 */
export function addUnlisted(
  found: Customers,
  named: ReadonlyMap<string, string>,
  elsewhere: ReadonlyMap<string, Pick<Customer, 'name' | 'email'>> = new Map(),
): void {
  for (const [id, name] of named) {
    if (found.has(id)) continue;
    const listed = elsewhere.get(id);
    found.set(id, {
      name: listed === undefined || listed.name === '' ? name : listed.name,
      email: listed?.email ?? '',
      status: 'unlisted',
      created: null,
    });
  }
}

/** All customers as rows, sorted by Reference. */
export function customersBatch(found: Customers, stamp: Stamp): RowBatch {
  const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : 1));
  return batchOf(customers, sorted.length, stamp, {
    Reference: sorted.map(([id]) => id),
    TenantName: sorted.map(([, { name }]) => name),
    Contact: constant(''),
    Email: sorted.map(([, { email }]) => email),
    Status: sorted.map(([, { status }]) => status),
    Created: sorted.map(([, { created }]) => created),
    Id: constant(''),
  });
}

/**
 * Accounts that changed payers within a month: the one that they left has cost of theirs, and the one that
 * they joined lists them. Names and e-mail addresses come from there, from staged files alone.
 */

interface Task {
  staging: Staging;
  slice: Slice;
  /** The current extractions of the month. */
  current: CurrentOf;
  signal: AbortSignal;
  log: Log;
}

/** What another organization of the month lists of an account. */
export interface ListedElsewhere {
  organization: string;
  name: string;
  email: string;
}

/** What was looked for, where, and found, as a transform manifest keeps it. */
export type Look = NonNullable<TransformManifest['customers']['elsewhere']>;

/**
 * Looks for accounts that the slice's organization does not list in the current extractions of the month's
 * other organizations. Of several that list one, that counts which it joined last; of those, the first by name.
 * @param accounts Their ids; nothing is read or listed for none.
 * @returns what was found, by account id, and the look itself: `undefined` for no accounts.
 */
export async function lookElsewhere(
  task: Task,
  accounts: readonly string[],
): Promise<{ found: ReadonlyMap<string, ListedElsewhere>; look: Look | undefined }> {
  if (accounts.length === 0) return { found: new Map(), look: undefined };
  return lookAt(task, accounts, await otherExtractions(task));
}

/**
 * Whether a look that was taken before would find the same now. Only where other extractions are current
 * than those that it saw is anything read; that they say the same is then noted in the manifest.
 */
export async function findsTheSame(task: Task, manifest: TransformManifest): Promise<boolean> {
  const { staging, slice } = task;
  const before = manifest.customers.elsewhere;
  if (before === undefined || (await seesTheSame(task, manifest))) return true;
  const { look } = await lookAt(task, before.accounts, await otherExtractions(task));
  if (look.found !== before.found) return false;
  const noted = { ...manifest, customers: { ...manifest.customers, elsewhere: look } };
  await staging.write(transformManifestKey(slice), serializeManifest(noted));
  return true;
}

/** Whether a look that was taken before saw the very extractions that are current now, so that it need not be taken again. */
export async function seesTheSame(
  task: Pick<Task, 'slice' | 'current'>,
  { customers: { elsewhere } }: TransformManifest,
): Promise<boolean> {
  return elsewhere === undefined || nameOf(await otherExtractions(task)) === elsewhere.looked;
}

async function lookAt(
  task: Task,
  accounts: readonly string[],
  others: readonly CurrentExtraction[],
): Promise<{ found: Map<string, ListedElsewhere>; look: Look }> {
  const found = new Map<string, ListedElsewhere & { joined: number }>();
  const looked: CurrentExtraction[] = [];
  for (const other of others) {
    const listed = await accountsOf(task, other);
    if (listed === undefined) continue;
    looked.push(other);
    for (const id of accounts) {
      const account = listed.get(id);
      const joined = account?.created ?? -Infinity;
      const former = found.get(id);
      if (account === undefined || (former !== undefined && former.joined >= joined)) continue;
      const { name, email } = account;
      found.set(id, { organization: other.organization, name, email, joined });
    }
  }
  const said = accounts.map((id) => [id, found.get(id)?.name, found.get(id)?.email]);
  const look = { accounts: [...accounts], looked: nameOf(looked), found: digestOf(said) };
  return { found, look };
}

async function otherExtractions({
  slice,
  current,
}: Pick<Task, 'slice' | 'current'>): Promise<CurrentExtraction[]> {
  const ofMonth = await current(slice.month);
  return ofMonth.filter(({ organization }) => organization !== slice.organization);
}

/** A finished extraction never changes: its name tells what it says. */
function nameOf(others: readonly CurrentExtraction[]): string {
  return digestOf(others.map(({ organization, extraction }) => [organization, extraction]));
}

function digestOf(json: unknown): string {
  return sha256Of(new TextEncoder().encode(JSON.stringify(json)));
}

/**
 * Accounts of the extractions of one month: every organization of the month may look at them, and they
 * never change. Those of the month before are forgotten, so that memory is bounded by one month's accounts.
 */
const known = new WeakMap<Staging, { month: string; accounts: Map<string, Promise<Customers>> }>();

/** Several slices may wait for it, so that it ends by none of their signals. */
async function readAccounts(
  staging: Staging,
  slice: Slice,
  extraction: string,
): Promise<Customers> {
  const { manifest } = await readExtraction(staging, slice, extraction);
  return readCustomers({ staging, slice, manifest }, new AbortController().signal);
}

/**
 * The accounts that another organization lists; `undefined` where its staged files are not as they should
 * be, which fails its own tables, not these.
 */
async function accountsOf(
  { staging, signal, log }: Task,
  { extraction, ...slice }: CurrentExtraction,
): Promise<Customers | undefined> {
  const name = `${slice.organization}/${extraction}`;
  let ofMonth = known.get(staging);
  if (ofMonth?.month !== slice.month)
    known.set(staging, (ofMonth = { month: slice.month, accounts: new Map() }));
  const { accounts } = ofMonth;
  const reading = accounts.get(name) ?? readAccounts(staging, slice, extraction);
  accounts.set(name, reading);
  try {
    return await until(signal, reading);
  } catch (error) {
    accounts.delete(name);
    if (!(error instanceof DataError)) throw error;
    log.warn(
      { err: error },
      `${slice.organization}'s staged accounts cannot be read: names of accounts that it may have taken over are left out`,
    );
    return undefined;
  }
}
