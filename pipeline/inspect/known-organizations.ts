import type { Resources, Secrets } from '../run/resources.js';
import { stagedOrganizations, viewOf } from '../run/resources.js';
import { InterruptedError, PipelineError, UsageError, describeError } from '../shared/errors.js';
import type { OrganizationView } from '../shared/scope.js';
import type { StagedSlice } from '../staging/extractions.js';
import type { Staging } from '../staging/staging.js';

/** Which organizations a run would work on. */
export interface Organizations extends Pick<Resources, 'staging' | 'organizations'> {
  /** What the secret or the configuration file lacks for an organization. */
  faults: ReadonlyMap<string, PipelineError>;
  /** Each known organization's own part of what is asked for. */
  views: ReadonlyMap<string, OrganizationView>;
  /** Why the names are the staging area's instead of the secret's, beside those of the configuration file. */
  note: string | undefined;
}

/**
 * The organizations of the secret and the configuration file; where Vault is not set up or does not
 * answer, those of the file and those of which anything is staged.
 * @param notSetUp why Vault cannot be asked; `undefined` when it can, or need not be.
 * @throws {UsageError} when an organization is given twice.
 */
export async function findOrganizations(
  staging: Staging,
  staged: readonly StagedSlice[],
  secrets: Secrets,
  notSetUp: PipelineError | undefined,
): Promise<Organizations> {
  const faults = new Map<string, PipelineError>();
  const views = new Map<string, OrganizationView>();
  const found = notSetUp ?? (await attempt(secrets));
  const without = found instanceof PipelineError;
  const entries = without ? await secrets.listedOrganizations() : found;
  for (const entry of entries) {
    if ('fault' in entry) faults.set(entry.name, entry.fault);
    else views.set(entry.name, viewOf(entry));
  }
  const known = [
    ...entries.map(({ name }) => name),
    ...(without ? staged.map(({ slice }) => slice.organization) : []),
  ];
  const names = [...new Set(known)].sort();
  const listed = entries.length > 0 ? 'those of the configuration file and ' : '';
  return {
    staging,
    faults,
    views,
    note: without
      ? `the organizations are ${listed}those of which something is staged, since Vault cannot be asked: ${describeError(found)}`
      : undefined,
    organizations: () => Promise.resolve(names),
  };
}

/** The organizations of a run that extracts nothing, and so does not ask Vault for them. */
export function onlyStaged(staging: Staging): Organizations {
  return {
    staging,
    faults: new Map(),
    views: new Map(),
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
    const final = error instanceof InterruptedError || error instanceof UsageError;
    if (!(error instanceof PipelineError) || final) throw error;
    return error;
  }
}
