import { monthData } from '../../fixtures/demo/data.js';
import { TransientError } from '../../pipeline/shared/errors.js';
import type { WantedScope } from '../../pipeline/shared/scope.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import type { Bench } from './extract.js';
import { MONTH, beforeWrites } from './extract.js';
import { resold } from './resold.js';

/** The month that tests widen. */
export const slice = { month: MONTH, organization: 'oab' };

/** What organizations and settings leave open stays as it is staged. */
export const open: WantedScope = {
  ...plainScope,
  by: undefined,
  invoices: undefined,
  costViewArn: undefined,
};

export const at = (instant: string) => () => new Date(instant);
export const final = at('2026-11-20T06:00:00Z');
export const later = at('2026-11-25T06:00:00Z');

/** A cent more, as AWS restates a month. */
export function restate({ data }: Bench): void {
  const of = monthData(data, 'oab', MONTH);
  const [first, ...others] = of.items;
  const UnblendedCost = first!.costs.UnblendedCost + 10n ** 16n;
  of.items = [{ ...first!, costs: { ...first!.costs, UnblendedCost } }, ...others];
}

/** A month of a few pages, with invoices and a cost view. */
export const small = () => ({
  data: resold([MONTH], [{ name: 'oab', accounts: 4 }]),
  groupsPerPage: 30,
  invoicesPerPage: 2,
});

export class Killed extends TransientError {}

/** Runs until the first write of a file of that name, which the run does not live to see. */
export async function killedAt(
  of: Bench,
  file: string,
  changes: Parameters<Bench['run']>[0],
): Promise<void> {
  const staging = beforeWrites(of.staging, (key) => {
    if (key.endsWith(`/${file}`)) throw new Killed(`killed before ${key}`);
  });
  try {
    await of.run({ ...changes, staging });
  } catch (error) {
    if (error instanceof Killed) return;
    throw error;
  }
  throw new Error(`the run never wrote ${file}`);
}
