import { ListAccountsCommand } from '@aws-sdk/client-organizations';
import { z } from 'zod';
import { DataError } from '../pipeline/errors.js';
import type { Page } from './page.js';
import { followTokens, givenToken, parsePageContent, serializeAnswer } from './page.js';
import type { Session } from './session.js';

/** Most accounts that a page may hold (AWS Organizations API reference, ListAccounts, MaxResults). */
const PAGE_SIZE = 20;

const answer = z.object({
  Accounts: z.array(z.looseObject({})).optional(),
  NextToken: z.string().optional().transform(givenToken),
});

/**
 * Reads an answer of ListAccounts.
 * @throws {DataError} when it is none.
 */
export function readAccountsPage(content: Uint8Array, where: string): Page {
  const parsed = answer.safeParse(parsePageContent(content, where));
  if (!parsed.success) {
    throw new DataError(`not an answer of ListAccounts: ${z.prettifyError(parsed.error)}`, {
      where,
    });
  }
  return { content, rows: parsed.data.Accounts?.length ?? 0, nextToken: parsed.data.NextToken };
}

/** Every page of the organization's accounts, to the last token; a page may be empty before the last. */
export function listAccounts(
  session: Session,
  signal: AbortSignal,
): AsyncGenerator<Page, void, undefined> {
  const call = { operation: 'ListAccounts' } as const;
  const where = session.describe(call);
  return followTokens(
    async (NextToken) => {
      const command = new ListAccountsCommand({ MaxResults: PAGE_SIZE, NextToken });
      const output = await session.call(call, signal, ({ organizations }, options) =>
        organizations.send(command, options),
      );
      return readAccountsPage(serializeAnswer(output), where);
    },
    [],
    where,
  );
}
