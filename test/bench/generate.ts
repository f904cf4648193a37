import { generateAccounts } from '../../fixtures/demo/accounts.js';
import type { DemoAccount } from '../../fixtures/demo/model.js';
import type { Random } from '../../fixtures/demo/random.js';
import { createRandom } from '../../fixtures/demo/random.js';
import type { Totals } from '../../pipeline/shared/sums.js';
import { formatAmount } from '../../pipeline/shared/money.js';
import { addTo, formatTotals } from '../../pipeline/shared/sums.js';
import { timePeriod } from '../../pipeline/shared/month.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { version } from '../../pipeline/shared/version.js';
import type { Slice } from '../../pipeline/staging/layout.js';
import {
  extractionManifestKey,
  extractionPrefix,
  pageFile,
} from '../../pipeline/staging/layout.js';
import type { ExtractionManifest } from '../../pipeline/staging/manifest.js';
import { costQuery, serializeManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { sha256Of } from '../../pipeline/staging/staging.js';
import type { MonthSize } from './month.js';
import { extraction, metrics, month, organizationNames } from './month.js';
import { serviceNames } from './services.js';

const CURRENCY = 'USD';

/** Accounts of a page of ListAccounts: the most that AWS gives. */
const ACCOUNTS_PER_PAGE = 20;
/** Groups of a page of GetCostAndUsage. AWS does not say how many it gives. */
export const GROUPS_PER_PAGE = 5000;

export interface GenerateOptions {
  /** Any text; the same seed gives the same bytes. */
  seed?: string;
  groupsPerPage?: number;
  /** Default: the four of {@link organizationNames}. */
  organizations?: readonly string[];
}

/**
 * Stages the month of some organizations as the extract stage leaves it: AWS's answers page by page,
 * then the manifest. Memory is bounded by a page and the accounts of an organization.
 */
export async function generateMonth(
  staging: Staging,
  size: MonthSize,
  {
    seed = 'bench',
    groupsPerPage = GROUPS_PER_PAGE,
    organizations = organizationNames,
  }: GenerateOptions = {},
): Promise<void> {
  for (const [index, organization] of organizations.entries()) {
    const unlisted = Math.floor(size.accounts / 50);
    const accounts = generateAccounts({
      seed,
      organization,
      listed: size.accounts - unlisted,
      unlisted,
      offset: index,
      stride: organizations.length,
    });
    if (new Set(accounts.map(({ id }) => id)).size < accounts.length)
      throw new Error(`the seed ${seed} gives two accounts one id: take another`);
    await generateSlice(staging, { month, organization }, accounts, {
      services: serviceNames.slice(0, size.services).sort(),
      random: createRandom(`${seed}/costs/${organization}`),
      groupsPerPage,
    });
  }
}

interface Costs {
  services: readonly string[];
  random: Random;
  groupsPerPage: number;
}

async function generateSlice(
  staging: Staging,
  slice: Slice,
  accounts: readonly DemoAccount[],
  costs: Costs,
): Promise<void> {
  const pages: ExtractionManifest['pages'] = [];
  const count = { 'accounts': 0, 'cost-and-usage': 0, 'total': 0 };
  const stage = async (
    operation: keyof typeof count,
    text: string,
    rows: number,
  ): Promise<void> => {
    const file = pageFile(operation, ++count[operation]);
    const bytes = Buffer.from(`${text}\n`);
    await staging.write(extractionPrefix(slice, extraction) + file, bytes);
    pages.push({ file, bytes: bytes.length, sha256: sha256Of(bytes), rows });
  };
  const listed = accounts.filter((account) => account.listed);
  for (let start = 0; start < listed.length; start += ACCOUNTS_PER_PAGE) {
    const page = listed.slice(start, start + ACCOUNTS_PER_PAGE);
    await stage('accounts', accountsAnswer(slice, page, start, listed), page.length);
  }
  const sums: Totals = new Map();
  const rows = accounts.length * costs.services.length;
  for (let start = 0; start < rows; start += costs.groupsPerPage) {
    const end = Math.min(start + costs.groupsPerPage, rows);
    const next = end < rows ? tokenTo(count['cost-and-usage'] + 2) : undefined;
    await stage(
      'cost-and-usage',
      costAnswer(accounts, costs, { start, end, next }, sums),
      end - start,
    );
  }
  await stage('total', totalAnswer(sums), 0);
  const totals = formatTotals(new Map([[CURRENCY, sums.get('UnblendedCost') ?? 0n]]));
  const manifest: ExtractionManifest = {
    format: 1,
    version,
    month: slice.month,
    organization: slice.organization,
    extraction,
    started: '2026-11-15T02:03:04.000Z',
    finished: '2026-11-15T02:09:04.000Z',
    requests: {
      ListAccounts: count.accounts,
      GetCostAndUsage: count['cost-and-usage'] + count.total,
      ListInvoiceSummaries: 0,
    },
    pages,
    accounts: listed.length,
    groups: rows,
    totals,
    metrics: {},
    scope: plainScope,
    queries: [costQuery, { name: 'total', groupBy: [] }],
    breakdowns: [],
    invoices: null,
    awsTotal: totals,
    awsMetrics: {},
    refused: [],
    estimated: false,
  };
  await staging.write(extractionManifestKey(slice, extraction), serializeManifest(manifest));
}

/** A continuation token as long as AWS's, which tells the page that it leads to. */
function tokenTo(page: number): string {
  return Buffer.from(`page ${page} `.padEnd(72, '.')).toString('base64');
}

/** The page (from 1) that a continuation token leads to; the first without one. */
export function positionOf(token: string | undefined): number {
  return token === undefined ? 1 : Number(Buffer.from(token, 'base64').toString().split(' ')[1]);
}

function accountsAnswer(
  slice: Slice,
  page: readonly DemoAccount[],
  start: number,
  all: readonly DemoAccount[],
): string {
  const end = start + page.length;
  const payer = all[0]?.id ?? '';
  return JSON.stringify({
    Accounts: page.map(({ id, name, email, state, joined, joinedMethod }) => ({
      Id: id,
      Arn: `arn:aws:organizations::${payer}:account/o-${slice.organization}/${id}`,
      Email: email,
      Name: name,
      State: state,
      JoinedMethod: joinedMethod,
      JoinedTimestamp: joined,
    })),
    ...(end < all.length ? { NextToken: tokenTo(start / ACCOUNTS_PER_PAGE + 2) } : {}),
  });
}

interface Cut {
  start: number;
  end: number;
  next: string | undefined;
}

/** Groups `start` to `end`, ordered by service, then account; their metrics are added to `sums`. */
function costAnswer(
  accounts: readonly DemoAccount[],
  { services, random }: Costs,
  { start, end, next }: Cut,
  sums: Totals,
): string {
  const pageSums = metrics.map(() => ({ whole: 0, fraction: 0 }));
  const groups: string[] = [];
  const names = services.map((service) => JSON.stringify(service));
  for (let row = start; row < end; row++) {
    const first = drawAmount(random);
    let texts = '';
    for (const [index, metric] of metrics.entries()) {
      // In most months and accounts the metrics are the same.
      const { text, whole, fraction }: Amount =
        index === 0 || random.below(4) > 0 ? first : drawAmount(random);
      const sum = pageSums[index];
      if (sum !== undefined) {
        sum.whole += whole;
        sum.fraction += fraction;
      }
      texts += `${index === 0 ? '' : ','}"${metric}":{"Amount":"${text}","Unit":"${CURRENCY}"}`;
    }
    const service = names[Math.floor(row / accounts.length)] ?? '';
    const account = accounts[row % accounts.length]?.id ?? '';
    groups.push(`{"Keys":[${service},"${account}"],"Metrics":{${texts}}}`);
  }
  for (const [index, metric] of metrics.entries()) {
    const { whole = 0, fraction = 0 } = pageSums[index] ?? {};
    addTo(sums, metric, BigInt(whole) * 10n ** 18n + BigInt(fraction) * 10n ** 8n);
  }
  const onPage = accounts.filter((_, index) => isOnPage(index, accounts.length, { start, end }));
  const attributes = onPage
    .filter(({ named }) => named)
    .map(({ id, name }) => ({ Value: id, Attributes: { description: name } }));
  const token = next === undefined ? '' : `"NextPageToken":${JSON.stringify(next)},`;
  return `{${token}"GroupDefinitions":${groupDefinitions},"ResultsByTime":[{"TimePeriod":${period},"Total":{},"Groups":[${groups.join(',')}],"Estimated":false}],"DimensionValueAttributes":${JSON.stringify(attributes)}}`;
}

function isOnPage(
  account: number,
  accounts: number,
  { start, end }: Pick<Cut, 'start' | 'end'>,
): boolean {
  const first = start + ((((account - start) % accounts) + accounts) % accounts);
  return first < end;
}

const period = JSON.stringify(timePeriod(month));
const groupDefinitions = JSON.stringify([
  { Type: 'DIMENSION', Key: 'SERVICE' },
  { Type: 'DIMENSION', Key: 'LINKED_ACCOUNT' },
]);

function totalAnswer(sums: Totals): string {
  const Total = Object.fromEntries(
    [...sums].map(([metric, units]) => [metric, { Amount: formatAmount(units), Unit: CURRENCY }]),
  );
  return JSON.stringify({
    ResultsByTime: [{ TimePeriod: timePeriod(month), Total, Groups: [], Estimated: false }],
    DimensionValueAttributes: [],
  });
}

/** An amount of at most 10 fraction digits, as its text and as two safe integers. */
interface Amount {
  text: string;
  /** Signed whole part. */
  whole: number;
  /** Signed fraction, counted in 10^-10. */
  fraction: number;
}

const zero: Amount = { text: '0', whole: 0, fraction: 0 };

/**
 * Draws a cost as Cost Explorer writes it: mostly 10 fraction digits without trailing zeros; of 100,
 * three are zero, seven are tiny, four are credits, fifteen have whole cents.
 */
function drawAmount(random: Random): Amount {
  const kind = random.below(100);
  if (kind < 3) return zero;
  const tiny = kind < 10;
  const whole = tiny ? 0 : random.below(magnitudes[random.below(magnitudes.length)] ?? 1);
  const fraction = tiny
    ? random.below(5000)
    : kind < 25
      ? random.below(100) * 1e8
      : random.below(100_000) * 100_000 + random.below(100_000);
  if (whole === 0 && fraction === 0) return zero;
  const negative = random.below(100) < 4;
  const text = `${negative ? '-' : ''}${whole}${fractionText(fraction)}`;
  return negative ? { text, whole: -whole, fraction: -fraction } : { text, whole, fraction };
}

/** Bounds of the whole part, the small ones more often. */
const magnitudes = [1, 1, 10, 10, 100, 100, 1000, 1000, 5000, 20_000];

function fractionText(fraction: number): string {
  if (fraction === 0) return '';
  let digits = String(fraction + 1e10);
  while (digits.endsWith('0')) digits = digits.slice(0, -1);
  return `.${digits.slice(1)}`;
}
