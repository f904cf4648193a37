import { ListAccountsCommand } from '@aws-sdk/client-organizations';
import { z } from 'zod';
import { TransientError } from '../pipeline/errors.js';
import { accountFault } from '../pipeline/staging/answers.js';
import { AGAIN } from './aws-call.js';
import type { Page } from './page.js';
import { followTokens, givenToken, parseAnswer, serializeAnswer, wrongAnswer } from './page.js';
import type { Session } from './session.js';

/** Most accounts that a page may hold (AWS Organizations API reference, ListAccounts, MaxResults). */
const PAGE_SIZE = 20;

const text = z.string().optional();
const answer = z.object({
  Accounts: z.array(
    z.object({
      Id: text,
      Name: text,
      Email: text,
      State: text,
      Status: text,
      JoinedTimestamp: z.unknown().optional(),
    }),
  ),
  NextToken: z.string().optional().transform(givenToken),
});

/**
 * Reads an answer of ListAccounts.
 * @throws {TransientError} when it is none. @throws {DataError} naming an account that is no customer.
 */
export function readAccountsPage(content: Uint8Array, where: string): Page {
  const { Accounts, NextToken } = parseAnswer('ListAccounts', answer, content, where);
  for (const [index, account] of Accounts.entries()) {
    const fault = accountFault(account);
    if (fault === undefined) continue;
    const { Id } = account;
    const named = Id === undefined ? '' : ` (${JSON.stringify(Id.slice(0, 40))})`;
    throw wrongAnswer(`account ${index + 1}${named} ${fault}`, where);
  }
  return { content, rows: Accounts.length, nextToken: NextToken };
}

/**
 * Every page of the organization's accounts, to the last token; a page may be empty before the last.
 * @throws {TransientError} when all of them are: an organization has at least its management account.
 */
export async function* listAccounts(
  session: Session,
  signal: AbortSignal,
): AsyncGenerator<Page, void, undefined> {
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
