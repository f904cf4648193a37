import type { CustomerGroup } from '../config/formats.js';
import { DataError, UsageError } from '../shared/errors.js';
import { accountIdFault } from '../staging/answers.js';
import { compareTexts, isSameView } from './comparisons.js';
import type { Account, SliceRows } from './month-rows.js';
import type { MonthData } from './months.js';

/** Which accounts are one customer. */
export interface GroupOptions {
  groups: readonly CustomerGroup[];
  /** Whether only some organizations were chosen: then accounts of the others are not there. */
  isPart: boolean;
}

/** A customer with its accounts' codes. */
export interface Entry {
  id: string;
  name: string;
  file: string;
  /** Its accounts of the month and of the one before. */
  codes: readonly number[];
  /** All its accounts, those too that left before. */
  all: readonly number[];
  /** What a later report knows it by: its accounts, whatever they are called. */
  key: string;
  accounts: readonly { account: string; name: string; status: string }[];
  /** Organizations that list its accounts or have cost of them, now or in the month before. */
  organizations: ReadonlySet<string>;
  /** Accounts of it of which organizations without figures have all, or maybe a part. */
  missing: readonly string[];
  /** Whether nothing that its amount of the month before needs is missing. */
  isCompared: boolean;
}

/** Every customer of the month or of the one before, by id of its (first) account. */
export function customersOf(data: MonthData, options: GroupOptions): Entry[] {
  const { names, shown, previous, elsewhere } = data;
  const here = accountsOf(shown.slices);
  const before = accountsOf(previous.slices);
  const isMissing = new Set(shown.gaps.map(({ organization }) => organization));
  const isOtherView = new Set(
    shown.slices
      .filter(({ organization, manifest }) =>
        previous.slices.some(
          (one) => one.organization === organization && !isSameView(one.manifest, manifest),
        ),
      )
      .map(({ organization }) => organization),
  );
  const wasMissing = new Set(previous.gaps.map(({ organization }) => organization));
  /** Known before only, to organizations that have no figures now: whether it has left is not known. */
  const isUnknown = (code: number): boolean =>
    !here.has(code) &&
    [...(before.get(code)?.organizations ?? [])].some((one) => isMissing.has(one));
  /** Whether organizations without figures may have cost of it too: an account that moves has cost in two. */
  const isPart = (code: number): boolean =>
    elsewhere.get(shown.month)?.has(code) === true ||
    [...(before.get(code)?.organizations ?? [])].some((one) => isMissing.has(one));
  const groupOf = groupsByAccount(data, options, (code) => here.has(code) || before.has(code));
  const members = new Map<
    CustomerGroup | number,
    { group: CustomerGroup | undefined; codes: number[] }
  >();
  for (const code of new Set([...here.keys(), ...before.keys()])) {
    const group = groupOf.get(names.textOf(code));
    // An account that only the month before lists, without cost, is none of this report.
    if (!here.has(code) && (isUnknown(code) || before.get(code)?.hasCost !== true)) continue;
    const member = members.get(group ?? code) ?? { group, codes: [] };
    members.set(group ?? code, member);
    member.codes.push(code);
  }
  const text = (code: number): string => names.textOf(code);
  const entries = [...members.values()].map(({ group, codes }): Entry => {
    codes.sort((a, b) => compareTexts(text(a), text(b)));
    const organizations = new Set(
      codes.flatMap((code) => [
        ...(here.get(code)?.organizations ?? []),
        ...(before.get(code)?.organizations ?? []),
      ]),
    );
    const accounts = codes.map((code) => {
      const known = here.get(code) ?? before.get(code);
      const status = here.has(code) ? (known?.status ?? '') : 'gone';
      return { account: text(code), name: known?.name ?? '', status };
    });
    const [first = { account: '', name: '' }] = accounts;
    const missing = (group?.accounts ?? [first.account]).filter((account) => {
      const code = names.codeOf(account);
      if (codes.includes(code)) return isPart(code);
      const isAway = options.isPart || isMissing.size > 0;
      return isUnknown(code) || (isAway && !before.has(code));
    });
    return {
      id: group?.name ?? first.account,
      name: group?.name ?? (first.name === '' ? first.account : first.name),
      file: group === undefined ? accountFile(first.account) : groupFile(group),
      ...{ codes, accounts, organizations, missing },
      all: group === undefined ? codes : group.accounts.map((account) => names.codeOf(account)),
      key: group === undefined ? first.account : group.accounts.toSorted().join(' '),
      isCompared:
        previous.slices.length > 0 &&
        missing.length === 0 &&
        !codes.some((code) => elsewhere.get(previous.month)?.has(code)) &&
        [...organizations].every((one) => !wasMissing.has(one) && !isOtherView.has(one)),
    };
  });
  return entries.sort((a, b) =>
    compareTexts(a.accounts[0]?.account ?? '', b.accounts[0]?.account ?? ''),
  );
}

interface KnownAccount extends Account {
  organizations: Set<string>;
  hasCost: boolean;
}

/** The accounts that a month lists or has cost of; one that several organizations have is theirs all. */
function accountsOf(slices: readonly SliceRows[]): Map<number, KnownAccount> {
  const found = new Map<number, KnownAccount>();
  const at = (code: number): KnownAccount => {
    let account = found.get(code);
    if (account === undefined)
      found.set(
        code,
        (account = { name: '', status: '', organizations: new Set(), hasCost: false }),
      );
    return account;
  };
  for (const { organization, accounts, consumption } of slices) {
    for (const [code, { name, status }] of accounts) {
      const account = at(code);
      account.organizations.add(organization);
      if (account.name === '') account.name = name;
      // Whoever does not list it (any more) knows less of it than whoever does.
      if (account.status === '' || account.status === 'unlisted') account.status = status;
    }
    for (const code of new Set(consumption.account)) {
      const account = at(code);
      account.organizations.add(organization);
      account.hasCost = true;
    }
  }
  return found;
}

/** @throws {UsageError} naming accounts that no month has, where every organization's are known. */
function groupsByAccount(
  { names, shown, earlier }: MonthData,
  { groups, isPart }: GroupOptions,
  isKnown: (code: number) => boolean,
): Map<string, CustomerGroup> {
  const isEarlier = (code: number): boolean =>
    earlier.some(({ slices }) =>
      slices.some(({ totals }) => [...totals.values()].some((ofCurrency) => ofCurrency.has(code))),
    );
  const unknown =
    isPart || shown.gaps.length > 0
      ? []
      : groups.flatMap(({ name, accounts }) =>
          accounts
            .filter((account) => !isKnown(names.codeOf(account)))
            .filter((account) => !isEarlier(names.codeOf(account)))
            .map((account) => `${account} of ${JSON.stringify(name)}`),
        );
  if (unknown.length > 0)
    throw new UsageError(
      `"customers" in the configuration file names accounts that no organization has: ${unknown.join(', ')}`,
      { next: `mend the ids, or leave out those that left before ${shown.month}` },
    );
  return new Map(
    groups.flatMap((group) => group.accounts.map((account) => [account, group] as const)),
  );
}

/** @throws {DataError} when it is no account's id, which alone is safe as a file's name. */
function accountFile(account: string): string {
  const fault = accountIdFault(account);
  if (fault !== undefined) throw new DataError(`${JSON.stringify(account)}: ${fault}`);
  return account;
}

/** A name that no other customer's file has, nor any system forbids. */
function groupFile({ name, accounts }: CustomerGroup): string {
  const letters = name
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 40);
  return `${letters === '' ? 'customer' : letters}-${accounts[0] ?? ''}`;
}
