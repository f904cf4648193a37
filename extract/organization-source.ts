import { GetCostAndUsageCommand } from '@aws-sdk/client-cost-explorer';
import { ListAccountsCommand } from '@aws-sdk/client-organizations';
import { GetCallerIdentityCommand } from '@aws-sdk/client-sts';
import { DataError, TransientError } from '../pipeline/shared/errors.js';
import type { Month } from '../pipeline/shared/month.js';
import type { Scope } from '../pipeline/shared/scope.js';
import { plainScope } from '../pipeline/shared/scope.js';
import type { Query } from '../pipeline/staging/manifest.js';
import { costQuery, costViewQuery } from '../pipeline/staging/manifest.js';
import { AGAIN } from './aws-errors.js';
import type { OrganizationAccess } from './organizations.js';
import { fetchDocument } from './invoice-document.js';
import type { FetchedAccounts, FetchedCost, FetchedInvoices, FetchedPage } from './pages.js';
import {
  readAccountsPage,
  readCostPage,
  readInvoicesPage,
  serializeAnswer,
  wrongAnswer,
} from './pages.js';
import { metricsOf, requestOf } from './questions.js';
import type { Session, SessionOptions } from './session.js';
import { openSession } from './session.js';

/** Where an organization's pages come from: one for each organization and run, shared by its months. */
export interface OrganizationSource {
  readonly name: string;
  readonly region: string;
  /** Begins to list the organization's accounts. AWS is asked once in a run, and all callers share the answer. */
  accounts(signal: AbortSignal): Listing;
  /**
   * The pages of a question's answer after those that gave `tokens`; from the first one, when there are none. A page is asked for only when its consumer wants it. `onPaid` is called for each answer.
   */
  costAndUsage(
    question: Question,
    tokens: readonly string[],
    signal: AbortSignal,
    onPaid: () => void,
  ): AsyncIterable<FetchedCost>;
  /** The account whose credentials these are: what pays, where the accounts' ARNs do not tell it. */
  ownAccount(signal: AbortSignal): Promise<string>;
  /**
   * The pages of the invoices that AWS has issued to the account for a month, after those that gave `tokens`; a page
   * is asked for only when its consumer wants it.
   */
  invoices(
    payer: string,
    month: Month,
    tokens: readonly string[],
    signal: AbortSignal,
  ): AsyncIterable<FetchedInvoices>;
  /** An invoice as PDF. @throws {PipelineError} that names it. */
  invoiceDocument(invoice: string, signal: AbortSignal): Promise<Uint8Array>;
  close(): void;
}

/** The organization's accounts, on their way. */
export interface Listing {
  /** Settles with the first account: from then on it is known that accounts may be listed. */
  begun: Promise<void>;
  /**
   * Every page; `requests` counts the answers that this very call of `accounts` brought, 0 for those that share
   * another's.
   */
  all: () => Promise<{ pages: readonly FetchedAccounts[]; requests: number }>;
}

/** A question about a month. */
interface Question {
  month: Month;
  scope: Scope;
  query: Query;
}

/** Opens an organization; nothing is contacted, and no role assumed, before the first request. */
export function openOrganization(
  access: OrganizationAccess,
  options: SessionOptions,
): OrganizationSource {
  const session = openSession(access, options);
  let listed: { begun: Promise<void>; pages: Promise<readonly FetchedAccounts[]> } | undefined;

  function list(signal: AbortSignal): NonNullable<typeof listed> {
    const coming = listAccounts(session, signal);
    const pages: FetchedAccounts[] = [];
    const untilAnAccount = async (): Promise<void> => {
      for (let page = await coming.next(); page.done !== true; page = await coming.next()) {
        pages.push(page.value);
        if (page.value.rows > 0) return;
      }
    };
    const begun = untilAnAccount();
    const rest = async (): Promise<readonly FetchedAccounts[]> => {
      await begun;
      for await (const page of coming) pages.push(page);
      return pages;
    };
    return { begun, pages: rest() };
  }

  return {
    name: access.name,
    region: access.region,

    accounts(signal) {
      const isShared = listed !== undefined;
      const { begun, pages } = (listed ??= list(signal));
      // What failed is asked for again by the next month of the run.
      if (!isShared) pages.catch(() => (listed = undefined));
      return {
        begun,
        all: async () => ({ pages: await pages, requests: isShared ? 0 : (await pages).length }),
      };
    },

    costAndUsage: (question, tokens, signal, onPaid) =>
      costAndUsage(session, question, tokens, signal, onPaid),

    ownAccount: (signal) => ownAccount(session, access, signal),

    invoices: (payer, month, tokens, signal) => listInvoices(session, payer, month, tokens, signal),

    async invoiceDocument(invoice, signal) {
      const call = { operation: 'GetInvoicePDF' } as const;
      const where = `${session.describe(call)}, ${JSON.stringify(invoice.slice(0, 80))}`;
      const { GetInvoicePDFCommand } = await import('@aws-sdk/client-invoicing');
      const command = new GetInvoicePDFCommand({ InvoiceId: invoice });
      const { InvoicePDF } = await session.call(call, signal, async ({ invoicing }, given) =>
        (await invoicing()).send(command, given),
      );
      const { DocumentUrl: address } = InvoicePDF ?? {};
      if (address === undefined)
        throw new TransientError('AWS gave no address of the document', { where, next: AGAIN });
      const { timeoutMs = DOCUMENT_TIMEOUT } = options;
      return fetchDocument(address, { where, timeoutMs, signal });
    },

    close: () => {
      session.close();
    },
  };
}

/** One request for each right that an extraction needs; each throws a PipelineError that says what is missing. */
interface AccessProbe {
  /** Assumes the role or, where there is none, asks whose the credentials are. @returns the ARN. */
  prove(signal: AbortSignal): Promise<string>;
  /** One page of ListAccounts, which is free. @returns the account that pays, where the page tells it. */
  listAccounts(signal: AbortSignal): Promise<string | undefined>;
  /**
   * One page of ListInvoiceSummaries.
   * @param payer where it is known; else the account whose credentials these are.
   * @returns the account that was asked for.
   */
  listInvoices(payer: string | undefined, month: Month, signal: AbortSignal): Promise<string>;
  /** One page of GetCostAndUsage, which AWS charges $0.01 for. */
  askCost(month: Month, signal: AbortSignal): Promise<void>;
  /** The same of the cost view. */
  askCostView(month: Month, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** Prepares the probe; nothing is contacted before the first call. */
export function probeAccess(access: OrganizationAccess, options: SessionOptions): AccessProbe {
  const session = openSession(access, options);
  const { billingViewArn = null, costViewArn = null } = access;
  const scope = { ...plainScope, billingViewArn, costViewArn };
  const ask = async (month: Month, query: Query, signal: AbortSignal): Promise<void> => {
    await costAndUsage(session, { month, scope, query }, [], signal, () => undefined).next();
  };
  return {
    async prove(signal) {
      const { role } = access;
      // The session assumes the role before every request, so that one that sends nothing proves it.
      if (role !== undefined) {
        await session.call({ operation: 'AssumeRole' }, signal, () => Promise.resolve());
        return role.arn;
      }
      const call = { operation: 'GetCallerIdentity' } as const;
      const { Arn } = await session.call(call, signal, ({ sts }, options) =>
        sts.send(new GetCallerIdentityCommand(), options),
      );
      return Arn ?? 'unknown';
    },
    async listAccounts(signal) {
      const { value } = await listAccounts(session, signal).next();
      return value?.payer;
    },
    async listInvoices(payer, month, signal) {
      const account = payer ?? (await ownAccount(session, access, signal));
      await listInvoices(session, account, month, [], signal).next();
      return account;
    },
    askCost: (month, signal) => ask(month, costQuery, signal),
    askCostView: (month, signal) => ask(month, costViewQuery, signal),
    close: () => {
      session.close();
    },
  };
}

/** Most accounts that a page may hold (AWS Organizations API reference, ListAccounts, MaxResults). */
const PAGE_SIZE = 20;

/**
 * Every page of the organization's accounts, to the last token; a page may be empty before the last.
 * @throws {TransientError} when all of them are: an organization has at least its management account.
 */
export async function* listAccounts(
  session: Session,
  signal: AbortSignal,
): AsyncGenerator<FetchedAccounts, void, undefined> {
  const call = { operation: 'ListAccounts' } as const;
  const where = session.describe(call);
  let accounts = 0;
  const pages = followTokens(
    async (NextToken, page) => {
      const command = new ListAccountsCommand({ MaxResults: PAGE_SIZE, NextToken });
      const output = await session.call(call, signal, ({ organizations }, options) =>
        organizations.send(command, options),
      );
      return readAccountsPage(serializeAnswer(output), `${where}, page ${page}`);
    },
    [],
    where,
  );
  for await (const page of pages) {
    accounts += page.rows;
    yield page;
  }
  if (accounts > 0) return;
  throw new TransientError(
    'not an answer of ListAccounts: it lists no account, and an organization has at least its management account',
    { where, next: AGAIN },
  );
}

/** The account of the role, which its ARN tells, or of the credentials; STS needs no right to tell it. */
async function ownAccount(
  session: Session,
  { role }: OrganizationAccess,
  signal: AbortSignal,
): Promise<string> {
  const [, account] = /^arn:[\w-]+:iam::(\d{12}):/.exec(role?.arn ?? '') ?? [];
  if (account !== undefined) return account;
  const call = { operation: 'GetCallerIdentity' } as const;
  const { Account } = await session.call(call, signal, ({ sts }, options) =>
    sts.send(new GetCallerIdentityCommand(), options),
  );
  if (Account !== undefined) return Account;
  throw new TransientError('not an answer of GetCallerIdentity: it has no account', {
    where: session.describe(call),
    next: AGAIN,
  });
}

/** How long a document's server may stay silent where nobody says it, in milliseconds. */
const DOCUMENT_TIMEOUT = 60_000;

/** Most invoices that a page may hold (AWS Cost Management API reference, ListInvoiceSummaries, MaxResults). */
const INVOICES = 100;

/** The pages of an account's invoices of a month after those whose tokens are given, to the last one. */
function listInvoices(
  session: Session,
  payer: string,
  month: Month,
  tokens: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<FetchedInvoices, void, undefined> {
  const call = { operation: 'ListInvoiceSummaries', month } as const;
  const where = session.describe(call);
  const [year, number] = month.split('-').map(Number);
  return followTokens(
    async (NextToken, page) => {
      const { ListInvoiceSummariesCommand } = await import('@aws-sdk/client-invoicing');
      const command = new ListInvoiceSummariesCommand({
        Selector: { ResourceType: 'ACCOUNT_ID', Value: payer },
        Filter: { BillingPeriod: { Year: year, Month: number } },
        MaxResults: INVOICES,
        NextToken,
      });
      const continued = { ...call, continued: NextToken !== undefined };
      const output = await session.call(continued, signal, async ({ invoicing }, options) =>
        (await invoicing()).send(command, options),
      );
      return readInvoicesPage(serializeAnswer(output), `${where}, page ${page}`, month);
    },
    tokens,
    where,
  );
}

/**
 * The pages of a question's answer after those whose tokens are given, to the last one; with no tokens,
 * from the first. Each page is one request that AWS charges $0.01 for, asked for only when the consumer
 * wants it.
 * @param onPaid called for each answer as it comes, also for one that cannot be read.
 */
export function costAndUsage(
  session: Session,
  { month, scope, query }: Question,
  tokens: readonly string[],
  signal: AbortSignal,
  onPaid: () => void,
): AsyncGenerator<FetchedCost, void, undefined> {
  const view = query.name === costViewQuery.name ? 'costViewArn' : undefined;
  const call = { operation: 'GetCostAndUsage', month, view } as const;
  const where = session.describe(call);
  const metrics = metricsOf(scope, query);
  return followTokens(
    async (token, page) => {
      const command = new GetCostAndUsageCommand(requestOf(month, scope, query, token));
      const continued = { ...call, continued: token !== undefined };
      const output = await session.call(continued, signal, ({ costExplorer }, options) =>
        costExplorer.send(command, options),
      );
      onPaid();
      const asked = { month, groupBy: query.groupBy, metrics, page };
      return readCostPage(serializeAnswer(output), `${where}, ${query.name} page ${page}`, asked);
    },
    tokens,
    where,
  );
}

/** Pages of one answer, far more than there are accounts in any organization or groups in any month. */
const MOST_PAGES = 10_000;

/**
 * Asks for page after page until AWS gives no token, and for none before its consumer has taken the
 * one before. Pages are numbered from 1, those of the given tokens too.
 * @param given tokens of the pages that are staged already, in order: the first page asked for is the
 * one after them.
 * @throws {DataError} when AWS gives a token it has given before: every further page would be paid
 * for and bring nothing new. The page that repeats it is not handed out. Nor is more than
 * {@link MOST_PAGES}, whose tokens lead on for ever.
 */
export async function* followTokens<P extends FetchedPage>(
  ask: (token: string | undefined, page: number) => Promise<P>,
  given: readonly string[],
  where: string,
): AsyncGenerator<P, void, undefined> {
  const seen = new Set(given);
  let token = given.at(-1);
  let number = given.length;
  do {
    const page = await ask(token, ++number);
    token = page.nextToken;
    if (token !== undefined && seen.has(token)) {
      throw wrongAnswer(
        'AWS gave the same continuation token twice, so the pages do not advance',
        where,
      );
    }
    yield page;
    if (token !== undefined) seen.add(token);
    if (seen.size >= MOST_PAGES) {
      throw new DataError(`AWS gave ${MOST_PAGES} pages, and each names another one`, {
        where,
        next: 'check any AWS_ENDPOINT_URL; if it stays so, report it to AWS support',
      });
    }
  } while (token !== undefined);
}
