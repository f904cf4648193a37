/** What one stage did for one month and organization. */
export interface Outcome {
  /** `unchanged`: what the stage would make is there already, so that nothing was done. */
  state: 'done' | 'unchanged';
  /** The extraction that the stage made or worked from. */
  extraction: string;
  /** Whether AWS may still change the figures, see `isProvisional`. */
  provisional: boolean;
  /** Rows of `customers`; in the extract stage, accounts that the organization lists. */
  customers: number;
  /** How many of them have cost and are not listed (any more); in the extract stage none is known yet. */
  unlisted: number;
  /** Rows of `consumption`; in the extract stage, groups that Cost Explorer answered. */
  rows: number;
  /** Currency → exact sum of the rows' amounts, in plain decimal notation. */
  totals: Readonly<Record<string, string>>;
  /** AWS's own total minus the rows, likewise; absent where it was not asked for, and in the extract stage. */
  differences?: Readonly<Record<string, string>> | undefined;
}

/**
 * Tells people how far a stage is: a short text such as `page 12, 4210 groups`, and how much of it is done, from
 * 0 to 1, where that is known.
 */
export type OnProgress = (text: string, share?: number) => void;
