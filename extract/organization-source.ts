import { listAccounts } from './accounts.js';
import type { CostPage, Question } from './cost-and-usage.js';
import { costAndUsage } from './cost-and-usage.js';
import type { OrganizationAccess } from './organizations.js';
import type { Page } from './page.js';
import type { SessionOptions } from './session.js';
import { openSession } from './session.js';

/** Where an organization's pages come from: one for each organization and run, shared by its months. */
export interface OrganizationSource {
  readonly name: string;
  readonly region: string;
  /**
   * Every page of the organization's accounts. AWS is asked once in a run; `requests` counts the
   * answers that this very call brought, 0 for the callers that share another's.
   */
  accounts(signal: AbortSignal): Promise<{ pages: readonly Page[]; requests: number }>;
  /**
   * The pages of a question's answer after those that gave `tokens`; from the first one, when there are none. A page is asked for only when its consumer wants it. `onPaid` is called for each answer.
   */
  costAndUsage(
    question: Question,
    tokens: readonly string[],
    signal: AbortSignal,
    onPaid: () => void,
  ): AsyncIterable<CostPage>;
  close(): void;
}

/** Opens an organization; nothing is contacted, and no role assumed, before the first request. */
export function openOrganization(
  access: OrganizationAccess,
  options: SessionOptions,
): OrganizationSource {
  const session = openSession(access, options);
  let listed: Promise<readonly Page[]> | undefined;

  async function list(signal: AbortSignal): Promise<readonly Page[]> {
    const pages: Page[] = [];
    for await (const page of listAccounts(session, signal)) pages.push(page);
    return pages;
  }

  return {
    name: access.name,
    region: access.region,

    async accounts(signal) {
      if (listed !== undefined) return { pages: await listed, requests: 0 };
      const attempt = list(signal);
      listed = attempt;
      try {
        const pages = await attempt;
        return { pages, requests: pages.length };
      } catch (error) {
        listed = undefined;
        throw error;
      }
    },

    costAndUsage: (question, tokens, signal, onPaid) =>
      costAndUsage(session, question, tokens, signal, onPaid),

    close: () => {
      session.close();
    },
  };
}
