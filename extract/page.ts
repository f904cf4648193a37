import { DataError } from '../pipeline/errors.js';

/** Pages of one answer, far more than there are accounts in any organization or groups in any month. */
const MOST_PAGES = 10_000;

/** One answer of AWS, as it is staged. */
export interface Page {
  /** The file's bytes: the operation's output as JSON, without the SDK's `$metadata`, timestamps as ISO 8601. */
  content: Uint8Array;
  /** Accounts or groups in the answer; 0 is normal, even where more pages follow. */
  rows: number;
  /** The continuation token that the next page is asked for with; `undefined` on the last page. */
  nextToken: string | undefined;
}

/** An answer of the SDK as the bytes that are staged. */
export function serializeAnswer(answer: { $metadata: unknown }): Uint8Array {
  const text = JSON.stringify({ ...answer, $metadata: undefined });
  return new TextEncoder().encode(`${text}\n`);
}

/**
 * The JSON value of a page, fresh from AWS or staged by an earlier run.
 * @throws {DataError} when the bytes are not JSON, as after a truncation.
 */
export function parsePageContent(content: Uint8Array, where: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content));
  } catch (cause) {
    throw new DataError('the page is not JSON', { where, cause });
  }
}

/** A token as the schemas read it: AWS leaves it out on the last page; an empty one means the same. */
export function givenToken(token: string | undefined): string | undefined {
  return token === '' ? undefined : token;
}

/**
 * Asks for page after page until AWS gives no token, and for none before its consumer has taken the
 * one before.
 * @param given tokens of the pages that are staged already, in order: the first page asked for is the
 * one after them.
 * @throws {DataError} when AWS gives a token it has given before: every further page would be paid
 * for and bring nothing new. The page that repeats it is not handed out. Nor is more than
 * {@link MOST_PAGES}, whose tokens lead on for ever.
 */
export async function* followTokens<P extends Page>(
  ask: (token: string | undefined) => Promise<P>,
  given: readonly string[],
  where: string,
): AsyncGenerator<P, void, undefined> {
  const seen = new Set(given);
  let token = given.at(-1);
  do {
    const page = await ask(token);
    token = page.nextToken;
    if (token !== undefined && seen.has(token)) {
      throw new DataError(
        'AWS gave the same continuation token twice, so the pages do not advance',
        {
          where,
          next: 'run the same command again; if it stays so, report it to AWS support',
        },
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
