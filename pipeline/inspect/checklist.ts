import { randomUUID } from 'node:crypto';
import type { OrganizationAccess, OrganizationEntry } from '../../extract/organizations.js';
import type { OpenOptions } from '../../load/database.js';
import { probeConnection, probeRights } from '../../load/database.js';
import type { DatabaseLocation } from '../config/database-address.js';
import type { Config } from '../config/config.js';
import type { Secrets } from '../run/resources.js';
import { openSecrets } from '../run/resources.js';
import {
  ConfigurationError,
  DataError,
  InterruptedError,
  PipelineError,
  describeError,
} from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { Month } from '../shared/month.js';
import { lastCompleteMonth } from '../shared/month.js';
import { probeKey } from '../staging/layout.js';
import { openStaging } from '../staging/open.js';
import { overwriting } from '../staging/lease.js';
import type { Staging } from '../staging/staging.js';
import { readAll } from '../staging/staging.js';

export interface CheckRequest {
  config: Config;
  /** `undefined`: all. */
  organizations: readonly string[] | undefined;
  /** The month that Cost Explorer is asked for, at $0.01 an organization; `undefined`: it is not asked. */
  paidMonth: Month | undefined;
  log: Log;
  signal: AbortSignal;
}

/** Looks at everything that a run needs, each once, and stops at nothing that fails. */
export async function check(request: CheckRequest, list: Checklist): Promise<void> {
  const { config } = request;
  const secrets = openSecrets(config, request);
  try {
    for (const access of await findAccesses(config, request.organizations, secrets, list))
      await checkAccess(request, access, list);
    await checkStaging(config, request.signal, list);
    const { log, signal } = request;
    await checkDatabase(config, secrets, { log, signal, timeoutMs: config.timeoutMs }, list);
  } finally {
    await secrets.close();
  }
}

async function checkAccess(
  { config, paidMonth, log, signal }: CheckRequest,
  access: OrganizationAccess,
  list: Checklist,
): Promise<void> {
  const { probeAccess } = await import('../../extract/organization-source.js');
  const { credentialsOf } = await import('../../extract/aws-errors.js');
  const probe = probeAccess(access, { log, timeoutMs: config.timeoutMs });
  const proof = `${access.name}: ${access.role === undefined ? 'credentials' : 'AssumeRole'}`;
  const accounts = `${access.name}: ListAccounts`;
  const invoices = `${access.name}: invoices`;
  const cost = `${access.name}: Cost Explorer`;
  const costView = access.costViewArn === undefined ? undefined : `${access.name}: cost view`;
  try {
    const proven = await list.step(proof, async () => {
      const arn = await probe.prove(signal);
      const way = credentialsOf(access);
      return {
        found: true,
        text: access.role === undefined ? `${way}: ${arn}` : `${arn}, by ${way}`,
      };
    });
    if (proven === undefined) {
      const why =
        access.role === undefined ? 'there are no credentials' : 'the role cannot be assumed';
      list.skip(accounts, why);
      if (config.scope.invoices === true) list.skip(invoices, why);
      list.skip(cost, why);
      if (costView !== undefined) list.skip(costView, why);
      return;
    }
    let payer: string | undefined;
    if (access.listAccounts)
      await list.step(accounts, async () => {
        payer = await probe.listAccounts(signal);
        return { found: true, text: 'allowed' };
      });
    else list.skip(accounts, "listAccounts is false: Cost Explorer's own names have to do");
    if (config.scope.invoices === true)
      await list.step(invoices, async () => {
        const asked = await probe.listInvoices(payer, lastCompleteMonth(new Date()), signal);
        return { found: true, text: `allowed, for account ${asked}` };
      });
    if (paidMonth === undefined) {
      list.skip(cost, 'costs $0.01; --paid asks');
      if (costView !== undefined) list.skip(costView, 'costs $0.01; --paid asks');
      return;
    }
    await list.step(cost, async () => {
      await probe.askCost(paidMonth, signal);
      return { found: true, text: `answers for ${paidMonth} ($0.01)` };
    });
    if (costView === undefined) return;
    await list.step(costView, async () => {
      await probe.askCostView(paidMonth, signal);
      return { found: true, text: `answers for ${paidMonth} ($0.01)` };
    });
  } finally {
    probe.close();
  }
}

/** One thing that was looked at. */
export interface CheckLine {
  check: string;
  /** `skipped`: it could not be looked at, or was not asked for. */
  state: 'ok' | 'failed' | 'skipped';
  /** What was found, what to do, or why it was skipped. */
  text: string;
}

/** Collects lines; each step that fails leaves one, and stops nothing. */
export interface Checklist {
  readonly lines: CheckLine[];
  /**
   * Takes a step, whose result is what it found, and a text for people.
   * @returns what it found; `undefined` when it failed.
   */
  step<T>(check: string, look: () => Promise<{ found: T; text: string }>): Promise<T | undefined>;
  /** Says what was found by the way. */
  note(check: string, text: string): void;
  skip(check: string, why: string): void;
}

export function checklist(): Checklist {
  const lines: CheckLine[] = [];
  const add = (state: CheckLine['state'], check: string, text: string): void => {
    lines.push({ check, state, text });
  };
  return {
    lines,
    async step(check, look) {
      try {
        const { found, text } = await look();
        add('ok', check, text);
        return found;
      } catch (error) {
        if (!(error instanceof PipelineError) || error instanceof InterruptedError) throw error;
        add('failed', check, describeError(error));
        return undefined;
      }
    },
    note: add.bind(undefined, 'ok'),
    skip: add.bind(undefined, 'skipped'),
  };
}

/** The lines as people read them. */
export function formatChecklist(lines: readonly CheckLine[]): string {
  const width = Math.max(...lines.map(({ check }) => check.length));
  return lines
    .map(({ check, state, text }) => `${state.padEnd(7)}  ${check.padEnd(width)}  ${text}`)
    .join('\n');
}

/** Writes, reads, lists and removes a file of its own in the staging area. */
export async function checkStaging(
  config: Config,
  signal: AbortSignal,
  list: Checklist,
): Promise<void> {
  await list.step('staging area', async () => {
    const staging = await openStaging(config.staging, { ...config.stagingOptions, signal });
    const key = probeKey(randomUUID());
    try {
      await probe(staging, key);
    } catch (error) {
      // The first failure is the one to tell; what is left is a small file that no stage reads.
      await staging.remove(key).catch(() => undefined);
      throw error;
    }
    return { found: true, text: `${staging.location}: write, read, list and remove work` };
  });
}

async function probe(staging: Staging, key: string): Promise<void> {
  const where = `${staging.location}/${key}`;
  const content = new TextEncoder().encode('{"purpose":"pipeline check"}\n');
  await staging.write(key, content);
  if (await staging.write(key, content, { ifAbsent: true })) throw overwriting(where);
  const read = await staging.read(key);
  const bytes = read === undefined ? undefined : await readAll(read);
  if (bytes === undefined || Buffer.compare(bytes, content) !== 0)
    throw new DataError('the staging area gives back something else than was written', { where });
  if (!(await lists(staging, key)))
    throw new DataError('the staging area does not list what was written', { where });
  await staging.remove(key);
  if (await lists(staging, key))
    throw new DataError('the staging area lists what was removed', { where });
}

async function lists(staging: Staging, key: string): Promise<boolean> {
  let found = false;
  for await (const file of staging.list(key)) found ||= file.key === key;
  return found;
}

/** Connects to the database, and tries the rights that a load needs. */
export async function checkDatabase(
  { database, vault }: Config,
  secrets: Secrets,
  options: OpenOptions,
  list: Checklist,
): Promise<void> {
  let location: DatabaseLocation | undefined;
  if (database.kind === 'url') {
    location = database.location;
  } else if (vault !== undefined) {
    location = await list.step('suivi secret', async () => ({
      found: await secrets.database(),
      text: database.path,
    }));
  }
  if (location === undefined) {
    for (const check of ['database', 'database rights'])
      list.skip(check, 'the suivi secret cannot be read');
    return;
  }
  await checkServer(location, options, list);
}

async function checkServer(
  location: DatabaseLocation,
  options: OpenOptions,
  list: Checklist,
): Promise<void> {
  const connected = await list.step('database', async () => {
    const facts = await probeConnection(location, options);
    const text =
      facts === undefined
        ? 'the SQLite file is not there yet: the first load makes it'
        : `${facts.location}, version ${facts.version}`;
    return { found: { facts }, text };
  });
  if (connected === undefined) {
    list.skip('database rights', 'there is no connection');
    return;
  }
  const rights = await list.step('database rights', async () => ({
    found: { viewGrant: await probeRights(location, options) },
    text: 'enough to load',
  }));
  if (rights?.viewGrant !== undefined)
    list.note(
      'views',
      `missing, loading works: an administrator allows them with ${rights.viewGrant}`,
    );
  const { statements = false, bulk } = connected.facts ?? {};
  if (statements)
    list.note(
      'binlog_format',
      'STATEMENT: loading works, one month and organization at a time; ROW or MIXED lets them load side by side',
    );
  if (bulk !== undefined)
    list.note(
      'local_infile',
      bulk ? 'on' : 'off: loading works, about half as fast; SET GLOBAL local_infile = 1',
    );
}

/**
 * Looks where the organizations are told, Vault and the configuration file.
 * @param chosen `undefined`: all.
 * @returns the chosen ones that lack nothing.
 */
export async function findAccesses(
  config: Config,
  chosen: readonly string[] | undefined,
  secrets: Secrets,
  list: Checklist,
): Promise<OrganizationAccess[]> {
  const accesses: OrganizationAccess[] = [];
  const inVault = await canReadSecret(config, secrets, list);
  if (inVault) {
    await list.step('AWS secret', async () => {
      const entries = await secrets.secretOrganizations();
      const all = await secrets.organizations();
      return look(entries, chosen, all, accesses);
    });
  }
  if (config.organizations.length > 0) {
    await list.step('organizations', async () => {
      const entries = await secrets.listedOrganizations();
      // Of a name that is not listed, the line of the secret has told whether it is there.
      const all = config.vault?.awsSecretPath === undefined ? entries : undefined;
      return look(entries, chosen, all, accesses);
    });
  }
  return accesses;
}

/** Logs in to Vault, where it has anything to tell. */
async function canReadSecret(
  { vault, organizations }: Config,
  secrets: Secrets,
  list: Checklist,
): Promise<boolean> {
  if (vault === undefined) {
    if (organizations.length === 0) list.skip('Vault login', 'its settings are incomplete');
    return false;
  }
  const session = await list.step('Vault login', async () => ({
    found: await secrets.login(),
    text: vault.address,
  }));
  const needed = vault.awsSecretPath !== undefined || organizations.length === 0;
  if (session !== undefined && vault.awsSecretPath !== undefined) return true;
  if (needed) list.skip('AWS secret', 'there is no login to Vault, or no path');
  return false;
}

/**
 * Adds the chosen ones of one place's organizations to `accesses`.
 * @param all the organizations of every place; `undefined`: they are not all known.
 * @throws {ConfigurationError} naming every fault, and every chosen one that is not there.
 */
function look(
  entries: readonly OrganizationEntry[],
  chosen: readonly string[] | undefined,
  all: readonly OrganizationEntry[] | undefined,
  accesses: OrganizationAccess[],
): { found: true; text: string } {
  const names = (of: readonly OrganizationEntry[]): string => of.map(({ name }) => name).join(', ');
  const faults: string[] = [];
  if (all !== undefined) {
    for (const name of chosen ?? []) {
      if (!all.some((entry) => entry.name === name))
        faults.push(`there is no organization ${name}; choose among ${names(all)}`);
    }
  }
  for (const entry of entries) {
    if (chosen?.includes(entry.name) === false) continue;
    if ('fault' in entry) faults.push(describeError(entry.fault));
    else accesses.push(entry.access);
  }
  if (faults.length > 0) throw new ConfigurationError(faults.join('; '));
  const count = `${entries.length} organization${entries.length === 1 ? '' : 's'}`;
  return { found: true, text: `${count}: ${names(entries)}` };
}
