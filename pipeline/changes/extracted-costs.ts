import type { RowBatch } from '../../transform/batch.js';
import { valueAt } from '../../transform/batch.js';
import { checkTally } from '../../transform/check-tally.js';
import { consumptionBatches, emptyTally } from '../../transform/consumption.js';
import { readExtraction } from '../../transform/current.js';
import type { Customers } from '../../transform/customers.js';
import { addAccounts, addUnlisted } from '../../transform/customers.js';
import { accountsPages } from '../../transform/pages.js';
import type { Units } from '../money.js';
import { billingPeriod } from '../month.js';
import type { Slice } from '../staging/layout.js';
import type { ExtractionManifest } from '../staging/manifest.js';
import type { Staging } from '../staging/staging.js';
import { columnIndex } from '../staging/tables.js';

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
  const customers: Customers = new Map();
  for await (const page of accountsPages(staged, signal)) addAccounts(customers, page);
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
