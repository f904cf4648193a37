import { DataError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { sha256Of } from '../pipeline/staging/bytes.js';
import type { Slice } from '../pipeline/staging/layout.js';
import {
  MANIFEST,
  parseExtractionKey,
  rawPrefix,
  transformManifestKey,
} from '../pipeline/staging/layout.js';
import type { TransformManifest } from '../pipeline/staging/manifest.js';
import { serializeManifest } from '../pipeline/staging/manifest.js';
import type { Staging } from '../pipeline/staging/staging.js';
import { readExtraction } from './current.js';
import type { Customers } from './customers.js';
import { addAccounts } from './customers.js';
import { accountsPages } from './pages.js';

/**
 * Accounts that changed payers within a month: the one that they left has cost of theirs, and the one that
 * they joined lists them. Names and e-mail addresses come from there, from staged files alone.
 */

interface Task {
  staging: Staging;
  slice: Slice;
  signal: AbortSignal;
  log: Log;
}

/** What another organization of the month lists of an account. */
export interface ListedElsewhere {
  organization: string;
  name: string;
  email: string;
}

/** What was looked for, where, and found, as a transform manifest keeps it. */
export type Look = NonNullable<TransformManifest['customers']['elsewhere']>;

/** The finished extraction of another organization that is its current one. */
interface Other extends Slice {
  extraction: string;
}

/**
 * Looks for accounts that the slice's organization does not list in the current extractions of the month's
 * other organizations. Of several that list one, that counts which it joined last; of those, the first by name.
 * @param accounts Their ids; nothing is read or listed for none.
 * @returns what was found, by account id, and the look itself: `undefined` for no accounts.
 */
export async function lookElsewhere(
  task: Task,
  accounts: readonly string[],
): Promise<{ found: ReadonlyMap<string, ListedElsewhere>; look: Look | undefined }> {
  if (accounts.length === 0) return { found: new Map(), look: undefined };
  return lookAt(task, accounts, await otherExtractions(task));
}

/**
 * Whether a look that was taken before would find the same now. Only where other extractions are current
 * than those that it saw is anything read; that they say the same is then noted in the manifest.
 */
export async function findsTheSame(task: Task, manifest: TransformManifest): Promise<boolean> {
  const { staging, slice } = task;
  const before = manifest.customers.elsewhere;
  if (before === undefined) return true;
  const others = await otherExtractions(task);
  if (nameOf(others) === before.looked) return true;
  const { look } = await lookAt(task, before.accounts, others);
  if (look.found !== before.found) return false;
  const noted = { ...manifest, customers: { ...manifest.customers, elsewhere: look } };
  await staging.write(transformManifestKey(slice), serializeManifest(noted));
  return true;
}

async function lookAt(
  task: Task,
  accounts: readonly string[],
  others: readonly Other[],
): Promise<{ found: Map<string, ListedElsewhere>; look: Look }> {
  const found = new Map<string, ListedElsewhere & { joined: number }>();
  const looked: Other[] = [];
  for (const other of others) {
    const listed = await accountsOf(task, other);
    if (listed === undefined) continue;
    looked.push(other);
    for (const id of accounts) {
      const account = listed.get(id);
      const joined = account?.created ?? -Infinity;
      const former = found.get(id);
      if (account === undefined || (former !== undefined && former.joined >= joined)) continue;
      const { name, email } = account;
      found.set(id, { organization: other.organization, name, email, joined });
    }
  }
  const said = accounts.map((id) => [id, found.get(id)?.name, found.get(id)?.email]);
  const look = { accounts: [...accounts], looked: nameOf(looked), found: digestOf(said) };
  return { found, look };
}

async function otherExtractions({ staging, slice }: Task): Promise<Other[]> {
  const { month } = slice;
  const newest = new Map<string, string>();
  for await (const { key } of staging.list(rawPrefix(month))) {
    const parts = parseExtractionKey(key);
    if (parts?.file !== MANIFEST || parts.organization === slice.organization) continue;
    if ((newest.get(parts.organization) ?? '') < parts.extraction)
      newest.set(parts.organization, parts.extraction);
  }
  return [...newest]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([organization, extraction]) => ({ month, organization, extraction }));
}

/** A finished extraction never changes: its name tells what it says. */
function nameOf(others: readonly Other[]): string {
  return digestOf(others.map(({ organization, extraction }) => [organization, extraction]));
}

function digestOf(json: unknown): string {
  return sha256Of(new TextEncoder().encode(JSON.stringify(json)));
}

/**
 * Accounts of the extractions of one month: every organization of the month may look at them, and they
 * never change. Those of the month before are forgotten, so that memory is bounded by one month's accounts.
 */
const known = new WeakMap<Staging, { month: string; accounts: Map<string, Customers> }>();

/**
 * The accounts that another organization lists; `undefined` where its staged files are not as they should
 * be, which fails its own tables, not these.
 */
async function accountsOf(
  { staging, signal, log }: Task,
  { extraction, ...slice }: Other,
): Promise<Customers | undefined> {
  const name = `${slice.organization}/${extraction}`;
  let ofMonth = known.get(staging);
  if (ofMonth?.month !== slice.month)
    known.set(staging, (ofMonth = { month: slice.month, accounts: new Map() }));
  const remembered = ofMonth.accounts.get(name);
  if (remembered !== undefined) return remembered;
  try {
    const { manifest } = await readExtraction(staging, slice, extraction);
    const accounts: Customers = new Map();
    for await (const page of accountsPages({ staging, slice, manifest }, signal))
      addAccounts(accounts, page);
    ofMonth.accounts.set(name, accounts);
    return accounts;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    log.warn(
      { err: error },
      `${slice.organization}'s staged accounts cannot be read: names of accounts that it may have taken over are left out`,
    );
    return undefined;
  }
}
