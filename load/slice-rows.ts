import type { Knex } from 'knex';
import { billingPeriod } from '../pipeline/month.js';
import type { Slice, TableName } from '../pipeline/staging/layout.js';
import { z } from 'zod';

const counted = z.tuple([z.object({ rows: z.coerce.number() })]);

/** The columns that tell a slice's rows from all others. */
export function sliceKey(slice: Slice): { BillingPeriod: string; Organization: string } {
  return { BillingPeriod: billingPeriod(slice.month), Organization: slice.organization };
}

/** Removes every row of the slice. */
export async function deleteSlice(knex: Knex, table: TableName, slice: Slice): Promise<void> {
  await knex(table).where(sliceKey(slice)).delete();
}

/** Accounts of the slice that the organization listed, not those that only Cost Explorer knew. */
export async function countListed(knex: Knex, slice: Slice): Promise<number> {
  const answer: unknown = await knex('customers')
    .where(sliceKey(slice))
    .whereNot({ Status: 'unlisted' })
    .count({ rows: '*' });
  return counted.parse(answer)[0].rows;
}

/** Rows of the slice in a table. */
export async function countSlice(knex: Knex, table: TableName, slice: Slice): Promise<number> {
  const answer: unknown = await knex(table).where(sliceKey(slice)).count({ rows: '*' });
  return counted.parse(answer)[0].rows;
}
