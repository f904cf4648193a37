import type { OrganizationEntry } from '../../extract/organizations.js';
import { describeSlices, products, shownCommand, subjectOf } from '../shared/commands.js';
import { InterruptedError, PipelineError, UsageError, describeError } from '../shared/errors.js';
import type { Month } from '../shared/month.js';
import { historyStart } from '../shared/month.js';
import type { Slice } from '../staging/layout.js';
import type { Secrets } from './resources.js';

/** The organizations that the AWS secret and the configuration file name. */
export interface KnownOrganizations {
  /** By name; where Vault cannot be asked, those of the configuration file alone. */
  entries: readonly OrganizationEntry[];
  /** Why Vault cannot be asked. */
  unasked: PipelineError | undefined;
}

/**
 * @param notSetUp why Vault cannot be asked; `undefined` when it can, or need not be.
 * @throws {UsageError} when an organization is given twice.
 */
export async function knownOrganizations(
  secrets: Secrets,
  notSetUp: PipelineError | undefined,
): Promise<KnownOrganizations> {
  try {
    if (notSetUp !== undefined) throw notSetUp;
    return { entries: await secrets.organizations(), unasked: undefined };
  } catch (error) {
    const isOther = error !== notSetUp && error instanceof UsageError;
    if (!(error instanceof PipelineError) || error instanceof InterruptedError || isOther)
      throw error;
    return { entries: await secrets.listedOrganizations(), unasked: error };
  }
}

/** What of some months should be staged, and is not. */
export interface Absence {
  slices: readonly Slice[];
  /** Who names their organizations, for people. */
  by: string;
  /** Months of which nobody says which organizations they should hold. */
  untold: readonly Month[];
  /** What people are to know of this comparison; `undefined`: nothing, as Vault was asked or nothing is absent. */
  note: string | undefined;
}

export const noAbsence: Absence = { slices: [], by: '', untold: [], note: undefined };

/**
 * Holds what is staged against the organizations that there are: those of the secret and the configuration file;
 * where Vault cannot be asked, those of the file and of the months around. Months that AWS no longer tells are left
 * out.
 * @param staged everything that is staged, of all months.
 * @param organizations `undefined`: all.
 */
export function absentSlices(
  { entries, unasked }: KnownOrganizations,
  staged: readonly Slice[],
  months: readonly Month[],
  organizations: readonly string[] | undefined,
  now: Date,
): Absence {
  const named = entries.map(({ name }) => name);
  const namesOf = (month: Month): readonly string[] =>
    staged.filter((slice) => slice.month === month).map(({ organization }) => organization);
  const all = [...new Set(staged.map(({ month }) => month))].sort();
  const expected = (month: Month): string[] => {
    if (unasked === undefined) return named;
    const around = [all.findLast((one) => one < month), all.find((one) => one > month)];
    return [...named, ...around.flatMap((one) => (one === undefined ? [] : namesOf(one)))];
  };
  const told = months.filter((month) => month >= historyStart(now));
  const absent = told.flatMap((month) =>
    [...new Set(expected(month))]
      .filter((name) => !namesOf(month).includes(name))
      .filter((name) => organizations?.includes(name) ?? true)
      .sort()
      .map((organization) => ({ month, organization })),
  );
  const untold = told.filter((month) => expected(month).length === 0);
  return {
    slices: absent,
    by:
      unasked === undefined
        ? 'the AWS secret or the configuration file names'
        : 'the months around or the configuration file name',
    untold,
    note: unasked && noteOf(untold, absent, unasked),
  };
}

function noteOf(
  untold: readonly Month[],
  absent: readonly Slice[],
  unasked: PipelineError,
): string | undefined {
  const why = `Vault cannot be asked: ${describeError(unasked)}`;
  if (untold.length === 0) return absent.length === 0 ? undefined : why;
  return `whether all organizations of ${untold.join(', ')} are there is not known: no other month is staged, and ${why}`;
}

/** What is absent as people read it, with the command that fetches it, and what they are to know of that. */
export function describeAbsence({ slices, by, note }: Absence): string[] {
  const absent = products(slices).map((some) => {
    const them = some.length === 1 ? 'it' : 'them';
    return `${describeSlices(some)}: absent, though ${by} ${them}\n  next:  fetch ${them} with "${shownCommand(subjectOf(...some))}"`;
  });
  return note === undefined ? absent : [...absent, note];
}
