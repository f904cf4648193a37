import type { ListedInvoice, SliceInvoices } from '../../load/invoiced-months.js';
import { readInvoices } from '../../load/invoiced-months.js';
import { findSource } from '../../load/source.js';
import { stagedOrganizations } from '../run/resources.js';
import { advice, nextRun, shownCommand, subjectOf } from '../shared/commands.js';
import { DataError, throwIfInterrupted } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { amountColumn, formatTable } from '../shared/table.js';
import type { Slice } from '../staging/layout.js';
import type { Staging } from '../staging/staging.js';
import { tables } from '../staging/tables.js';
import { checkOrganizations } from './chosen.js';
import { invoiceLines } from './invoice-lines.js';

export interface InvoicesRequest {
  staging: Staging;
  months: readonly Month[];
  /** `undefined`: all that are exported. */
  organizations: readonly string[] | undefined;
  signal: AbortSignal;
}

/** An organization's month and its invoices, as its exports hold them. */
export type FoundInvoices = Slice & SliceInvoices;

/**
 * Reads the invoices of the chosen months and organizations from their exports.
 * @throws {DataError} when a month is not exported, invoices were fetched of none of it, or a file is altered.
 * @throws {UsageError} on an organization that there is not.
 */
export async function findInvoices(request: InvoicesRequest): Promise<FoundInvoices[]> {
  const { staging, months, organizations, signal } = request;
  const found: FoundInvoices[] = [];
  const exported: Slice[] = [];
  for (const month of months)
    for (const organization of await stagedOrganizations(staging, month, 'manifests'))
      exported.push({ month, organization });
  if (exported.length > 0)
    checkOrganizations(
      exported.map(({ organization }) => organization),
      organizations,
    );
  const chosen = exported.filter((one) => organizations?.includes(one.organization) ?? true);
  for (const slice of chosen) {
    throwIfInterrupted(signal);
    found.push({ ...slice, ...(await readInvoices(staging, await findSource(staging, slice))) });
  }
  if (found.some(({ comparison }) => comparison.state !== 'not asked')) return found;
  const subject =
    chosen.length > 0 ? subjectOf(...chosen) : { months, organizations: organizations ?? [] };
  throw new DataError(
    chosen.length === 0
      ? `nothing is exported for ${months.join(', ')}`
      : `invoices were not fetched for ${months.join(', ')}`,
    {
      where: staging.location,
      ...advice('fetch them with', { ...nextRun([], undefined, '--invoices'), ...subject }),
    },
  );
}

/** The invoices as people read them, and what they are beside the cost. */
export function invoicesText(found: readonly FoundInvoices[]): string[] {
  const listed = found.flatMap(({ month, organization, listed: own }) =>
    own.map((invoice) => ({ month, organization, invoice })),
  );
  const day = (instant: string | null | undefined): string => instant?.slice(0, 10) ?? '';
  const column = (head: string, name: string) =>
    amountColumn(
      head,
      listed.map(({ invoice: { row, currency } }) => {
        const amount = row[name];
        return amount == null ? undefined : { [currency]: amount };
      }),
    );
  const columns = [column('tax', 'Tax'), column('total', 'Amount')];
  const heads = columns.map(({ head }) => head);
  const texts = ['month', 'organization', 'invoice', 'type', 'bill', 'issued'];
  const invoices = formatTable(
    [...texts, ...heads],
    listed.map(({ month, organization, invoice: { id, type, billType, row } }, index) => [
      ...[month, organization, id, type, billType, day(row['Issued'])],
      ...columns.map(({ cells }) => cells[index] ?? ''),
    ]),
    heads,
    { names: ['organization'] },
  );
  return [
    ...(listed.length === 0 ? [] : [invoices, '']),
    ...invoiceLines(found.map(({ comparison, ...slice }) => ({ ...slice, invoiced: comparison }))),
    ...found.flatMap(({ month, organization, comparison: { state } }) =>
      state === 'not asked'
        ? [
            `${month} ${organization}: its invoices were not fetched; fetch them with "${shownCommand(nextRun([], { month, organization }, '--invoices'))}"`,
          ]
        : [],
    ),
  ];
}

/** The same as JSON: each invoice with the table's columns, amounts as decimal texts, null where AWS gives none. */
export function invoicesToJson(found: readonly FoundInvoices[]) {
  return found.map(({ month, organization, comparison, listed }) => ({
    month,
    organization,
    ...comparison,
    invoices: listed.map(({ row }: ListedInvoice) => row),
  }));
}

/** Every invoice as a row with the columns of the table `invoices`. */
export function invoicesTable(found: readonly FoundInvoices[]) {
  return {
    columns: tables.invoices.map(({ name }) => name),
    rows: found.flatMap(({ listed }) => listed.map(({ row }) => row)),
  };
}
