import type { Batch, Value } from '../pipeline/staging/tables.js';
import { customers } from '../pipeline/staging/tables.js';
import type { Account, AccountsPage, Page } from './pages.js';
import type { Stamp } from './rows.js';
import { checkAccountId, checkLength, columnOf, rowFault } from './rows.js';

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
 * Adds the accounts of a page; of an account listed twice, the first stays.
 * `State` replaced `Status` in Organizations on 2026-09-09; older answers have only `Status`.
 * @throws {DataError} naming file and row of an account without a right id or with too long a text.
 */
export function addAccounts(found: Customers, { where, content }: Page<AccountsPage>): void {
  for (const [index, account] of content.Accounts.entries()) {
    const row = { where, row: index + 1 };
    const { Id: id } = account;
    if (id === undefined) throw rowFault(row, 'has no account id');
    checkAccountId(id, row);
    if (found.has(id)) continue;
    found.set(id, {
      name: checkLength(columns.name, account.Name ?? '', row),
      email: checkLength(columns.email, account.Email ?? '', row),
      status: checkLength(columns.status, statusOf(account), row),
      created: account.JoinedTimestamp === undefined ? null : Date.parse(account.JoinedTimestamp),
    });
  }
}

function statusOf({ State, Status }: Account): string {
  return (State ?? Status ?? '').toLowerCase();
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
export function customersBatch(found: Customers, stamp: Stamp): Batch {
  const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : 1));
  const values: Record<string, (entry: [string, Customer]) => Value> = {
    Reference: ([id]) => id,
    TenantName: ([, { name }]) => name,
    Contact: () => '',
    Email: ([, { email }]) => email,
    Tag: () => stamp.tag,
    Status: ([, { status }]) => status,
    Created: ([, { created }]) => created,
    Id: () => '',
    BillingPeriod: () => stamp.billingPeriod,
    Organization: () => stamp.organization,
  };
  return {
    length: sorted.length,
    columns: customers.map(({ name }) => {
      const value = values[name];
      if (value === undefined) throw new Error(`no value is known for customers.${name}`);
      return sorted.map(value);
    }),
  };
}
