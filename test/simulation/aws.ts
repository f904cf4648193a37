import type { Random } from '../../fixtures/demo/random.js';
import { RefusedTokenError } from '../../extract/aws-errors.js';
import type { OrganizationSource } from '../../extract/organization-source.js';
import { costAndUsage, listAccounts } from '../../extract/organization-source.js';
import type { FetchedAccounts } from '../../extract/pages.js';
import type { Session } from '../../extract/session.js';
import { TransientError } from '../../pipeline/shared/errors.js';
import { until } from '../../pipeline/shared/waits.js';
import { pageFile } from '../../pipeline/staging/layout.js';
import type { Actor, Schedule } from './schedule.js';
import type { Weather } from './storage.js';
import { chance, wayOf } from './storage.js';

/**
 * An organization at AWS: some accounts, and their cost of a month in pages of a few groups. It answers the requests
 * that the stage's own source makes, and tells of each one that is charged. No two answers are byte for byte the same,
 * though they say the same of the month: whose page a file is, its digest shows.
 */

const accounts = ['100000000001', '100000000002', '100000000003'] as const;
const services = ['AmazonEC2', 'AmazonS3', 'AWSLambda', 'Tax'] as const;
const PAYER = accounts[0];
const GROUPS_PER_PAGE = 4;

/** The month, or one of the same sums that has other services and names for them. */
const groupsOf = (isTwin: boolean) =>
  accounts.flatMap((account, row) =>
    (isTwin ? services.toReversed() : services).map((service, column) => ({
      Keys: [service, account],
      Metrics: {
        UnblendedCost: { Amount: `${(row + 1) * 100 + column}.0000000${row}1`, Unit: 'USD' },
      },
    })),
  );
type Groups = ReturnType<typeof groupsOf>;
/** 3 × (100 + 200 + 300) … by hand: the groups' whole parts, and their last digits. */
const total = { UnblendedCost: { Amount: '2418.0000001320', Unit: 'USD' } };

const TimePeriod = { Start: '2026-10-01', End: '2026-11-01' };

/** A page of the answer to a question, as the SDK gives it. */
function costPage(
  groups: Groups,
  groupBy: readonly unknown[],
  token: string | undefined,
  answer: number,
) {
  if (groupBy.length === 0)
    return { $metadata: {}, ResultsByTime: [{ TimePeriod, Groups: [], Total: total }] };
  const start = token === undefined ? 0 : Number(token);
  const end = start + GROUPS_PER_PAGE;
  return {
    $metadata: {},
    ...(end < groups.length ? { NextPageToken: String(end) } : {}),
    GroupDefinitions: groupBy,
    // Organizations knows the account, and its name is taken from there.
    DimensionValueAttributes: [{ Value: PAYER, Attributes: { description: `answer ${answer}` } }],
    ResultsByTime: [{ TimePeriod, Groups: groups.slice(start, end), Total: {}, Estimated: false }],
  };
}

function accountsPage(token: string | undefined, isTwin: boolean) {
  const index = token === undefined ? 0 : Number(token);
  const listed = accounts.slice(index, index + 2).map((Id) => ({
    Id,
    Arn: `arn:aws:organizations::${PAYER}:account/o-1/${Id}`,
    Name: `${isTwin ? 'Twin' : 'Customer'} ${Id}`,
    Email: `${Id}@example.com`,
    State: 'ACTIVE',
    JoinedTimestamp: new Date(Date.UTC(2020, 1, 1)),
  }));
  return {
    $metadata: {},
    Accounts: listed,
    ...(index + 2 < accounts.length ? { NextToken: String(index + 2) } : {}),
  };
}

/** @param onCharged is told the file that the page will be staged as, as AWS answers. */
export function createAws(
  schedule: Schedule,
  random: Random,
  weather: () => Weather,
  onCharged: (actor: Actor, file: string) => void,
  onRefused: () => void,
  isTwin: boolean,
) {
  const groups = groupsOf(isTwin);
  let answers = 0;
  return (actor: Actor): OrganizationSource => {
    const send = <T>(what: string, charged: string | undefined, answer: () => T): Promise<T> => {
      const bad = weather();
      const lost = chance(random, bad.lostRequest);
      const unheard = !lost && chance(random, bad.lostAnswer);
      return schedule.ask(
        actor,
        chance(random, bad.longAnswer)
          ? { there: 20, back: 60_000 + random.below(120_000), outlives: true }
          : wayOf(random, bad),
        () => {
          schedule.trace(
            `${actor.name} asks AWS for ${what}${lost ? ': refused' : ''}${unheard ? ': answer lost' : ''}`,
          );
          if (!lost && charged !== undefined) onCharged(actor, charged);
          return answer();
        },
        (given) => {
          if (!lost && !unheard) return given;
          throw new TransientError('AWS gave no answer', { where: what, next: 'again' });
        },
        true,
      );
    };
    const clients = {
      organizations: {
        send: ({ input: { NextToken } }: { input: { NextToken?: string } }) =>
          send('accounts', undefined, () => accountsPage(NextToken, isTwin)),
      },
      costExplorer: {
        send: async ({
          input: { GroupBy = [], NextPageToken: token },
        }: {
          input: { GroupBy?: readonly unknown[]; NextPageToken?: string };
        }) => {
          if (token !== undefined && chance(random, weather().lostRequest / 4)) {
            onRefused();
            schedule.trace(`${actor.name} is told that a token has run out`);
            throw new RefusedTokenError('AWS no longer honours the continuation token');
          }
          const question = GroupBy.length === 0 ? 'total' : 'cost-and-usage';
          const page = Number(token ?? 0) / GROUPS_PER_PAGE + 1;
          const file = pageFile(question, page);
          return send(file, file, () => costPage(groups, GroupBy, token, (answers += 1)));
        },
      },
    };
    const session = {
      call: (
        _call: unknown,
        signal: AbortSignal,
        ask: (all: unknown, options: unknown) => unknown,
      ) => until(signal, Promise.resolve(ask(clients, { abortSignal: signal }))),
      describe: () => 'simulated AWS',
      close: () => undefined,
    } as unknown as Session;

    const none = (): never => {
      throw new Error('nobody asks for it here');
    };
    return {
      name: 'oab',
      region: 'eu-central-1',
      accounts(signal) {
        const pages = (async () => {
          const listed: FetchedAccounts[] = [];
          for await (const page of listAccounts(session, signal)) listed.push(page);
          return listed;
        })();
        pages.catch(() => undefined);
        return {
          begun: pages.then(() => undefined),
          all: async () => ({ pages: await pages, requests: (await pages).length }),
        };
      },
      costAndUsage: (question, tokens, signal, onPaid) =>
        costAndUsage(session, question, tokens, signal, onPaid),
      ownAccount: none,
      invoices: none,
      invoiceDocument: none,
      close: () => undefined,
    };
  };
}
