import { describeError, InterruptedError, PipelineError } from '../errors.js';
import { stagedOrganizations } from '../resources.js';
import type { Resources } from '../resources.js';
import type { Secrets } from '../secrets.js';
import type { StagedSlice } from '../staged.js';
import type { Staging } from '../staging/staging.js';

/** Which organizations a run would work on. */
export interface Organizations extends Pick<Resources, 'staging' | 'organizations'> {
  /** What the secret lacks for an organization. */
  faults: ReadonlyMap<string, PipelineError>;
  /** The billing view of each organization that has one; `undefined` where Vault cannot be asked. */
  billingViews: ReadonlyMap<string, string> | undefined;
  /** Why the names are the staging area's instead of the secret's. */
  note: string | undefined;
}

/**
 * The organizations of the secret, or, where Vault is not set up or does not answer, those of which
 * anything is staged.
 * @param notSetUp why Vault cannot be asked; `undefined` when it can.
 */
export async function findOrganizations(
  staging: Staging,
  staged: readonly StagedSlice[],
  secrets: Secrets,
  notSetUp: PipelineError | undefined,
): Promise<Organizations> {
  const faults = new Map<string, PipelineError>();
  const billingViews = new Map<string, string>();
  const entries = notSetUp ?? (await attempt(secrets));
  let names: string[];
  if (entries instanceof PipelineError) {
    names = [...new Set(staged.map(({ slice }) => slice.organization))].sort();
  } else {
    names = entries.map(({ name }) => name);
    for (const entry of entries) {
      if ('fault' in entry) faults.set(entry.name, entry.fault);
      else if (entry.access.billingViewArn !== undefined)
        billingViews.set(entry.name, entry.access.billingViewArn);
    }
  }
  return {
    staging,
    faults,
    billingViews: entries instanceof PipelineError ? undefined : billingViews,
    note:
      entries instanceof PipelineError
        ? `the organizations are those of which something is staged, since Vault cannot be asked: ${describeError(entries)}`
        : undefined,
    organizations: () => Promise.resolve(names),
  };
}

/** The organizations of a run that extracts nothing, and so does not ask Vault for them. */
export function onlyStaged(staging: Staging): Organizations {
  return {
    staging,
    faults: new Map(),
    billingViews: undefined,
    note: undefined,
    organizations: (month, stages) =>
      stagedOrganizations(staging, month, stages.includes('transform') ? 'raw' : 'manifests'),
  };
}

async function attempt(
  secrets: Secrets,
): Promise<Awaited<ReturnType<Secrets['organizations']>> | PipelineError> {
  try {
    return await secrets.organizations();
  } catch (error) {
    if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
    return error;
  }
}
