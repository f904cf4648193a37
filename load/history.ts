import type { Knex } from 'knex';
import { z } from 'zod';
import { isMonth } from '../pipeline/shared/month.js';
import type { Detail } from '../pipeline/shared/scope.js';
import { details } from '../pipeline/shared/scope.js';
import type { Slice } from '../pipeline/staging/layout.js';
import { instantOf } from './driver.js';

/** The table that keeps every load there ever was, one row per load and slice. */
export const LOADS = 'pipeline_loads';

/** A row of `pipeline_loads`. */
export interface LoadRecord {
  Run: string;
  Month: string;
  Organization: string;
  Extraction: string;
  CustomerRows: number;
  ConsumptionRows: number;
  /** The sum, when the rows have one currency (0 when there are no rows); null when they have several. */
  Amount: string | null;
  Currency: string | null;
  /** JSON object: currency → exact sum. */
  Totals: string;
  /**
   * AWS's ungrouped total minus the sum, when both have one currency (0 when there is nothing); null when
   * they have several, or the total was not asked for.
   */
  Difference: string | null;
  /** JSON object: currency → exact difference; null when the total was not asked for. */
  Differences: string | null;
  /** SHA-256 of what was loaded, see `Source`. */
  Source: string;
  Started: string;
  Finished: string;
  Version: string;
  /** How finely the rows tell the cost. */
  Detail: Detail;
  /** The billing view that tells the cost; null: the organization's own. */
  BillingViewArn: string | null;
  /** The billing view that tells what it costs the reseller; null: none was asked. */
  CostViewArn: string | null;
  /** Whether AWS might still change the figures, see `isProvisional`. */
  Provisional: boolean;
}

/** Amount and currency of a load's totals, as far as one pair of columns can hold them. */
export function singleAmount(
  totals: Readonly<Record<string, string>>,
): Pick<LoadRecord, 'Amount' | 'Currency'> {
  const entries = Object.entries(totals);
  const [[Currency, Amount] = [null, '0']] = entries;
  return entries.length > 1 ? { Amount: null, Currency: null } : { Amount, Currency };
}

/** Adds a load to the history. */
export async function recordLoad(trx: Knex, record: LoadRecord): Promise<void> {
  await trx(LOADS).insert(record);
}

const loads = z.array(
  z.object({
    Month: z.string().refine(isMonth),
    Organization: z.string(),
    Extraction: z.string(),
    Source: z.string(),
    Finished: z.string(),
    Detail: z.enum(details),
    BillingViewArn: z.string().nullable(),
    CostViewArn: z.string().nullable(),
  }),
);

/** The newest load of a slice. */
export interface NewestLoad extends Slice {
  extraction: string;
  /** SHA-256 of what was loaded, see `Source`. */
  source: string;
  finished: Date;
  detail: Detail;
  billingViewArn: string | null;
  costViewArn: string | null;
}

/** The newest load of every slice that was ever loaded; none where the history's table is not there yet. */
export async function newestLoads(knex: Knex): Promise<NewestLoad[]> {
  if (!(await knex.schema.hasTable(LOADS))) return [];
  const newestIds = knex(LOADS).max('Id').groupBy('Month', 'Organization');
  const answer: unknown = await knex(LOADS).whereIn('Id', newestIds).select('*');
  return loads.parse(answer).map((load) => ({
    month: load.Month,
    organization: load.Organization,
    extraction: load.Extraction,
    source: load.Source,
    finished: instantOf(load.Finished),
    detail: load.Detail,
    billingViewArn: load.BillingViewArn,
    costViewArn: load.CostViewArn,
  }));
}

const newest = z
  .tuple([z.object({ Source: z.string(), Extraction: z.string(), Run: z.string() })])
  .or(z.tuple([]));

/** What the slice's newest load took; `undefined` when it was never loaded. */
export async function newestLoad(
  knex: Knex,
  slice: Slice,
): Promise<{ Source: string; Extraction: string; Run: string } | undefined> {
  const answer: unknown = await knex(LOADS)
    .where({ Month: slice.month, Organization: slice.organization })
    .orderBy('Id', 'desc')
    .limit(1)
    .select('Source', 'Extraction', 'Run');
  return newest.parse(answer)[0];
}
