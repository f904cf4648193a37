import { z } from 'zod';
import { DataError, TransientError } from '../pipeline/errors.js';
import { AGAIN } from './aws-call.js';

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

/**
 * Reads an answer by what it always has. The SDK makes an answer without members of an empty body, of `null` and
 * of `[]`, so that a success is none before it has been looked at.
 * @throws {TransientError} when it lacks that: what answers in AWS's place, or AWS itself in trouble, passes.
 * Where each answer is charged for, trying again at once may cost as much again: that is left to the next run.
 */
export function parseAnswer<T>(
  operation: string,
  schema: z.ZodType<T>,
  content: Uint8Array,
  where: string,
): T {
  const json = parsePageContent(content, where);
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue, ...others] = parsed.error.issues;
  const place = issue === undefined ? '' : z.core.toDotPath(issue.path);
  const more = others.length === 0 ? '' : `, and ${others.length} more`;
  throw new TransientError(
    `not an answer of ${operation}: ${place === '' ? '' : `${place}: `}${issue?.message ?? ''}${more}${saidType(json)}`,
    { where, next: AGAIN },
  );
}

/** The error that a service put into a success, in its own words. */
function saidType(json: unknown): string {
  const type = z.object({ __type: z.string() }).safeParse(json).data?.__type;
  return type === undefined ? '' : ` (it says ${JSON.stringify(type.slice(0, 80))})`;
}

/** An answer that is whole, but holds what cannot be true: it is not staged. */
export function wrongAnswer(message: string, where: string, cause?: unknown): DataError {
  return new DataError(message, {
    where,
    next: 'run the same command again; if it stays so, report it to AWS support',
    cause,
  });
}

/** A token as the schemas read it: AWS leaves it out on the last page; an empty one means the same. */
export function givenToken(token: string | undefined): string | undefined {
  return token === '' ? undefined : token;
}

/**
 * Asks for page after page until AWS gives no token, and for none before its consumer has taken the
 * one before. Pages are numbered from 1, those of the given tokens too.
 * @param given tokens of the pages that are staged already, in order: the first page asked for is the
 * one after them.
 * @throws {DataError} when AWS gives a token it has given before: every further page would be paid
 * for and bring nothing new. The page that repeats it is not handed out. Nor is more than
 * {@link MOST_PAGES}, whose tokens lead on for ever.
 */
export async function* followTokens<P extends Page>(
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
