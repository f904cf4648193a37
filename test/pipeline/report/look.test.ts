import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext, TestFn } from 'ava';
import anyTest from 'ava';
import axe from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import type { MonthFigures, StatementFigures } from '../../../pipeline/report/figures.js';
import { renderMonth } from '../../../pipeline/report/page.js';
import { renderStatement } from '../../../pipeline/report/statement.js';
import { parseMonth } from '../../../pipeline/shared/month.js';
import { openFile, startBrowser } from '../../support/browser.js';
import { installPackages } from '../../support/debian.js';
import type { Sketch, SketchSlice } from '../../support/report-data.js';
import {
  hostileNames,
  madeSketch,
  plainLook,
  sketchInvoice,
  sketchReport,
} from '../../support/report-data.js';

// One after the other: together they would want more memory and processors than a machine of two has.
const test = (anyTest as TestFn<{ browser: Browser }>).serial;

test.before(async (t) => {
  t.context = { browser: await startBrowser() };
});
test.after.always(async (t) => {
  await t.context.browser.close();
});

/** The same, with regions refused of an organization, and another one that was asked for nothing. */
function withoutSome(sketch: Sketch): Sketch {
  const [shown = [], ...before] = sketch.months;
  const message = '<b>Group Definition</b> is invalid';
  const change = (slice: SketchSlice): SketchSlice => {
    const { breakdowns = [] } = slice;
    if (slice.organization === 'internal') return { ...slice, breakdowns: [], by: [] };
    if (slice.organization !== 'spp_ecm') return slice;
    return {
      ...slice,
      by: [...new Set(breakdowns.map(({ dimension }) => dimension))],
      breakdowns: breakdowns.filter(({ dimension }) => dimension !== 'REGION'),
      refused: [{ part: 'REGION', error: 'ValidationException', message }],
    };
  };
  return { ...sketch, months: [shown.map(change), ...before] };
}

/** Each organization of the shown month with invoices: some more than the cost, a credit memo, one that does not count. */
function invoiced(sketch: Sketch): Sketch {
  const [shown = [], ...before] = sketch.months;
  const invoices = [
    sketchInvoice('123456.78', { tax: 1n }),
    sketchInvoice('99.5', { id: 'CM-1', type: 'CREDIT_MEMO' }),
    sketchInvoice('1', { id: hostileNames[1], type: 'PAYMENT_RECEIPT' }),
  ];
  return { ...sketch, months: [shown.map((slice) => ({ ...slice, invoices })), ...before] };
}

/** Names nobody wants, a missing and a stale organization, a provisional month, credits. */
const hostile = sketchReport({
  ...withoutSome(
    invoiced(
      madeSketch({
        customers: { oab: 12, spp_ecm: 5, internal: 2 },
        months: 13,
        names: hostileNames,
        breakdowns: true,
        teams: hostileNames,
        tags: 16,
        fetched: '2026-11-02T06:01:12.000Z',
      }),
    ),
  ),
  gaps: [
    {
      organization: 'spp_pm',
      reason: 'was never fetched',
      command: 'pipeline run --month 2026-10',
    },
  ],
  stale: [
    {
      organization: 'oab',
      reason: 'was fetched again on 2026-11-08',
      command: 'pipeline run --stage transform',
    },
  ],
  corrected: () => [
    {
      month: '2026-09' as MonthFigures['month'],
      currency: 'USD',
      reported: '2026-10-15T06:00:00.000Z',
      before: '1998.4',
      after: '2643.4000000001',
      difference: '645.0000000001',
    },
  ],
});
const whole = sketchReport(
  invoiced(madeSketch({ customers: { oab: 16, spp_ecm: 9 }, months: 13, breakdowns: true })),
);

const pageOf = (figures: MonthFigures): string =>
  renderMonth(figures, plainLook, { workbook: '2026-10.xlsx' });
const statementOf = (figures: StatementFigures): string => renderStatement(figures, plainLook);
/** The statement that has the most to show. */
function richest(report: typeof hostile): StatementFigures {
  const all = [...report.statements()];
  return all.reduce((best, one) =>
    (one.currencies[0]?.services.length ?? 0) > (best.currencies[0]?.services.length ?? 0)
      ? one
      : best,
  );
}

/** Two currencies, a month below zero, an outlier, a customer of several accounts and 200 services. */
function oddSketch(): Sketch {
  const made = madeSketch({ customers: { oab: 8, china: 4 }, months: 4 });
  const [account] = made.months[0]![0]!.accounts;
  const months = made.months.map((slices, back) =>
    slices.map((slice): SketchSlice => {
      if (slice.organization === 'china')
        return { ...slice, rows: slice.rows.map((row) => ({ ...row, currency: 'CNY' })) };
      const extra = Array.from({ length: 200 }, (_, service) => ({
        account: account!.id,
        service: `AWS Service ${service}, whose name is rather long - Compute`,
        amount: back === 0 && service === 7 ? '-98765432.1' : `${service * 1000}.123456`,
      }));
      return { ...slice, rows: [...slice.rows, ...extra] };
    }),
  );
  const accounts = made.months[0]![0]!.accounts.slice(0, 3).map(({ id }) => id);
  return { ...made, months, groups: [{ name: 'Acme Holding', accounts }] };
}
const odd = sketchReport(invoiced(oddSketch()));
const first = sketchReport(madeSketch({ customers: { oab: 9 }, months: 1 }));

const documents: Record<string, string> = {
  'the month': pageOf(whole.figures),
  'the month with all that can go wrong': pageOf(hostile.figures),
  'a month of two currencies, below zero': pageOf(odd.figures),
  'the first month of all': pageOf(first.figures),
  'a statement': statementOf(richest(whole)),
  'a statement of 200 services and several accounts': statementOf(richest(odd)),
  'a statement with a correction': statementOf(richest(hostile)),
};

const light = { viewport: { width: 1280, height: 900 } } as const;
const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } as const;
const views: Record<string, BrowserContextOptions> = {
  light,
  dark: { ...light, colorScheme: 'dark' },
  phone,
};

for (const [what, html] of Object.entries(documents)) {
  test(`${what} opens by itself, and passes axe in light, dark and on a phone`, async (t) => {
    for (const [view, options] of Object.entries(views)) {
      const { page, complaints, requests } = await openFile(t, t.context.browser, html, options);
      t.deepEqual(complaints, [], view);
      t.deepEqual(requests, [], view);
      await page.evaluate(axe.source);
      // Of a long table the first rows stand for all; dark, only the colours are others.
      const only: axe.RunOptions = view === 'dark' ? { runOnly: ['color-contrast'] } : {};
      const { violations } = await page.evaluate(
        (run) => axe.run({ exclude: ['tbody tr:nth-child(n + 20)'] }, run),
        only,
      );
      const faults = violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''} ${nodes[0]?.failureSummary ?? ''}`);
      t.deepEqual(faults, [], view);
      const [wide, seen] = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        document.documentElement.clientWidth,
      ]);
      t.is(wide, seen, `${view}: nothing lies beyond its right edge`);
      t.deepEqual(await cutIds(page), [], `${view}: no id is cut`);
    }
  });
}

test('a phone shows what AWS restated and what it invoiced without sideways scrolling', async (t) => {
  const { figures } = sketchReport(invoiced(madeSketch({ customers: { oab: 9 }, months: 2 })));
  for (const html of [pageOf(figures), pageOf(hostile.figures)]) {
    const { page } = await openFile(t, t.context.browser, html, phone);
    for (const head of ['Difference', 'Change'])
      for (const cell of await page.locator('.wide .dense thead th', { hasText: head }).all())
        t.true(
          await cell.evaluate((of) => of.getBoundingClientRect().right <= window.innerWidth - 15),
          head,
        );
  }
});

/** Ids whose box is narrower than their text, or is cut by one around it. */
function cutIds(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('.id')]
      .filter((id) => id.offsetParent !== null)
      .filter((id) => {
        const box = id.getBoundingClientRect();
        const isOutside = box.left < 0 || box.right > document.documentElement.clientWidth + 1;
        return (
          isOutside ||
          (id.scrollWidth > id.clientWidth + 1 && getComputedStyle(id).display !== 'inline')
        );
      })
      .map((id) => id.textContent),
  );
}

test('names of customers are text, whatever they hold', async (t) => {
  const { page } = await openFile(
    t,
    t.context.browser,
    documents['the month with all that can go wrong']!,
    light,
  );
  const shown = await page.locator('#customers-1 tbody th bdi').allTextContents();
  for (const name of hostileNames) t.true(shown.includes(name), name);
  t.is(await page.locator('script').count(), 3);
  t.is(await page.locator('img').count(), 0);
  const { currencies } = await blockIn(page);
  t.deepEqual(
    currencies[0]?.customers,
    hostile.figures.currencies[0]?.customers.map(({ id, amount }) => [id, amount]),
  );
  for (const figures of hostile.statements()) {
    if (!(hostileNames as readonly string[]).includes(figures.name)) continue;
    const statement = await openFile(t, t.context.browser, statementOf(figures), {
      javaScriptEnabled: false,
    });
    t.is(await statement.page.locator('h1').textContent(), figures.name);
    await statement.page.context().close();
  }
});

/** What a page says to machines. */
interface Block {
  currencies: { customers: [string, string][] }[];
}

async function blockIn(page: Page): Promise<Block> {
  return JSON.parse((await page.locator('#figures').textContent()) ?? '') as Block;
}

test('the name of a customer of several accounts ends no script', async (t) => {
  const name = '</script><!--<script><img src=x onerror=alert(1)>\u2028&amp;';
  const { figures } = sketchReport({
    month: parseMonth('2026-10'),
    months: [
      [
        {
          organization: 'oab',
          accounts: [{ id: '000000000010', name: 'Account' }],
          rows: [{ account: '000000000010', service: name, amount: '1' }],
        },
      ],
    ],
    groups: [{ name, accounts: ['000000000010'] }],
  });
  const html = renderMonth(figures, plainLook, { workbook: null });
  const { page, complaints } = await openFile(t, t.context.browser, html, light);
  t.is(await page.locator('script').count(), 3);
  t.deepEqual((await blockIn(page)).currencies[0]?.customers, [[name, '1']]);
  t.deepEqual(complaints, []);
});

/** The customers' table as it is seen: names from top to bottom. */
function namesSeen(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('#customers-1 tbody tr')]
      .filter((row) => row.offsetParent !== null)
      .map((row) => row.querySelector('th')?.textContent ?? ''),
  );
}

test('a customer is found and the table sorted by keyboard alone', async (t) => {
  const { page } = await openFile(t, t.context.browser, documents['the month']!, light);
  const all = await namesSeen(page);
  t.is(all.length, whole.figures.currencies[0]!.customers.length);
  const [customer] = whole.figures.currencies[0]!.customers.slice(7);
  await page.keyboard.press('/');
  await page.keyboard.type(customer!.accounts[0]!);
  t.deepEqual(await namesSeen(page), [customer!.name]);
  t.is(await page.locator('[data-finds=customers-1] output').textContent(), `1 of ${all.length}`);
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('ENERGIE'); // Finds Énergie.
  for (const name of await namesSeen(page)) t.regex(name, /Énergie/);
  t.not((await namesSeen(page)).length, 0);
  await page.keyboard.press('Escape');
  t.deepEqual(await namesSeen(page), all);

  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  const byName = await namesSeen(page);
  t.deepEqual(
    byName,
    [...all].sort(new Intl.Collator('en', { numeric: true, sensitivity: 'base' }).compare),
  );
  t.is(await page.locator('#customers-1 th[aria-sort]').innerText(), 'Customer');
  // On to the change, sixth after the name: largest first, then smallest first.
  for (let step = 0; step < 6; step++) await page.keyboard.press('Tab');
  for (const direction of ['descending', 'ascending']) {
    await page.keyboard.press('Enter');
    t.is(await page.locator(`#customers-1 th[aria-sort=${direction}]`).innerText(), 'Change');
    const changes = await page
      .locator('#customers-1 tbody .change data')
      .evaluateAll((cells) => cells.map((cell) => Number((cell as HTMLDataElement).value)));
    const sign = direction === 'descending' ? -1 : 1;
    t.deepEqual(
      changes,
      [...changes].sort((a, b) => sign * (a - b)),
    );
  }
});

test('a customer of several accounts is found by each of them', async (t) => {
  const { page } = await openFile(
    t,
    t.context.browser,
    documents['a month of two currencies, below zero']!,
    light,
  );
  const group = odd.figures.currencies[0]!.customers.find(({ accounts }) => accounts.length > 1);
  for (const account of group!.accounts) {
    await page.locator('[data-finds=customers-1] input').fill(account);
    t.deepEqual(await namesSeen(page), ['Acme Holding']);
  }
});

test('a name keeps its line beside a long status', async (t) => {
  const accounts = ['active', 'pending_closure', 'suspended'].map((status, index) => ({
    ...{ id: `00000000001${index}`, name: `Copper ${index}`, status },
  }));
  const { figures } = sketchReport({
    month: parseMonth('2026-10'),
    months: [
      [
        {
          organization: 'oab',
          accounts: [...accounts, { id: '000000000020', name: 'Alpine Assurances S.p.A.' }],
          rows: ['000000000010', '000000000020'].map((account) => ({
            ...{ account, service: 'Amazon Elastic Compute Cloud', amount: '123456.78' },
          })),
        },
      ],
    ].flatMap((month) => [month, month]),
    groups: [{ name: 'Copper Assurances S.A.', accounts: accounts.map(({ id }) => id) }],
  });
  const html = renderMonth(figures, plainLook, { workbook: null });
  const { page } = await openFile(t, t.context.browser, html, light);
  const lines = await page
    .locator('#customers-1 tbody bdi')
    .evaluateAll((names) => names.map((name) => name.getClientRects().length));
  t.deepEqual(lines, [1, 1]);
});

test('currencies stand apart, and what is below zero says so in a word', async (t) => {
  const { page } = await openFile(
    t,
    t.context.browser,
    documents['a month of two currencies, below zero']!,
    light,
  );
  const totals = await page.locator('.total').allInnerTexts();
  t.deepEqual(
    totals.map((text) => /[A-Z]{3}/.exec(text)?.[0]),
    ['USD', 'CNY'],
  );
  t.regex(totals[0]!, /^\u2212[\d,]+\.\d\d USD credit$/);
  t.notRegex(totals[1]!, /credit/);
  const down = page.locator('#services-1 tbody tr', { hasText: 'AWS Service 7,' });
  t.regex(await down.locator('.this').innerText(), /^\u221298,765,432\.10 credit$/);
  t.regex(await down.locator('.change').innerText(), /^\u2212/);
  t.regex(await down.locator('.way').innerText(), /^down /);
});

test('a provisional month is hatched, a missing organization marked with its reason', async (t) => {
  const { page } = await openFile(
    t,
    t.context.browser,
    documents['the month with all that can go wrong']!,
    light,
  );
  const hatched = await page
    .locator('.month')
    .evaluateAll((months) =>
      months.map((month) =>
        [...month.querySelectorAll('rect:not(.back)')].every((bar) =>
          getComputedStyle(bar).fill.startsWith('url('),
        ),
      ),
    );
  t.deepEqual(hatched, [...Array<boolean>(12).fill(false), true]);
  const problems = await page.locator('.problems').innerText();
  t.true(problems.includes('spp_pm was never fetched: pipeline run --month 2026-10'));
  t.true(problems.includes('oab was fetched again on 2026-11-08'));
});

test('nothing is compared in the first month of all', async (t) => {
  const { page } = await openFile(
    t,
    t.context.browser,
    documents['the first month of all']!,
    light,
  );
  t.is(
    await page
      .locator('.answer')
      .innerText()
      .then((text) => text.split('\n').pop()),
    'not compared with September 2026',
  );
  t.is(await page.locator('.chart, .change').count(), 0);
  t.deepEqual(await page.locator('#customers-1 thead button').allInnerTexts(), [
    'Customer',
    'Account',
    'Organization',
    'Status',
    'October',
    'Share',
  ]);
});

test('the locale decides thousands and decimals, the notation where the currency stands', (t) => {
  const { figures } = whole;
  const look = { ...plainLook, locale: 'de', currency: 'symbol', title: 'Müller & Söhne' } as const;
  const html = renderMonth(figures, look, { workbook: null });
  const { amount } = figures.currencies[0]!.total;
  const [integer, fraction] = Number(amount).toFixed(2).split('.');
  const german = `${integer!.replace(/\B(?=(\d{3})+$)/g, '.')},${fraction!}`;
  t.true(html.includes(`>${german}\u00a0$<`), german);
  t.true(html.includes('Müller &amp; Söhne'));
});

test('exact amounts are shown at a keystroke, and every amount has its own', async (t) => {
  const { page } = await openFile(t, t.context.browser, documents['a statement']!, light);
  const total = page.locator('.total data');
  const { amount } = richest(whole).currencies[0]!.total;
  t.is(await total.getAttribute('value'), amount);
  const rounded = await total.textContent();
  const words = await page.locator('.way').allTextContents();
  await page.locator('button.exact').focus();
  await page.keyboard.press('Enter');
  t.is((await total.textContent())!.replaceAll(',', ''), `${amount} USD`);
  t.deepEqual(await page.locator('.way').allTextContents(), words);
  await page.keyboard.press('Enter');
  t.is(await total.textContent(), rounded);
});

test('breakdowns: four stand open, the others unfold; what has no value says so, and values are text', async (t) => {
  const { breakdowns } = hostile.figures.currencies[0]!;
  const { page, complaints } = await openFile(
    t,
    t.context.browser,
    documents['the month with all that can go wrong']!,
    light,
  );
  const section = page.locator('section', { has: page.locator('h2', { hasText: 'Breakdowns' }) });
  const titles = section.locator('h3');
  t.is(await titles.count(), breakdowns.length - 1);
  t.is(await titles.filter({ visible: true }).count(), 4);
  await section.locator('summary').click();
  t.is(await titles.filter({ visible: true }).count(), breakdowns.length - 1);
  const team = section.getByRole('table', { name: 'By tag team', exact: true });
  const { top } = breakdowns.find(({ dimension }) => dimension === 'TAG:team')!;
  const shown = (name: string): string => (name === '' ? 'untagged' : name);
  t.deepEqual(
    await team.locator('tbody tr:not(.rest) th').allTextContents(),
    top.bars.map(({ name }) => shown(name)),
  );
  const region = section.locator('.broken > div', { hasText: 'Region' }).last();
  t.regex(
    (await region.textContent())!,
    /AWS refused it of spp_ecm: <b>Group Definition<\/b> is invalid/,
  );
  t.regex(
    (await section.textContent())!,
    /Not fetched of internal, whose cost is in none of these values\./,
  );
  t.deepEqual(complaints, []);
});

test('a tag that is not activated says so on the page; every value of a statement can be unfolded', async (t) => {
  const plain = madeSketch({ customers: { oab: 3 }, months: 1, breakdowns: true, teams: [] });
  const { page } = await openFile(t, t.context.browser, pageOf(sketchReport(plain).figures), light);
  t.is(await page.getByText('activated as a cost allocation tag').count(), 1);
  const teams = Array.from({ length: 18 }, (_, index) => `team ${index}`);
  const made = madeSketch({ customers: { oab: 3 }, months: 1, breakdowns: true, teams });
  const statement = richest(sketchReport(made));
  const { values } = statement.currencies[0]!.breakdowns.find(
    ({ dimension }) => dimension === 'TAG:team',
  )!;
  t.true(values.length > 12);
  const opened = await openFile(t, t.context.browser, statementOf(statement), light);
  await opened.page.getByText(`The ${values.length - 10} others`).click();
  for (const { value } of values)
    t.true(await opened.page.getByText(value || 'untagged', { exact: true }).isVisible(), value);
});

test('without JavaScript everything can be read', async (t) => {
  for (const [what, html] of Object.entries(documents)) {
    const { page } = await openFile(t, t.context.browser, html, {
      ...light,
      javaScriptEnabled: false,
    });
    t.is(await page.locator('table tbody tr:visible').count(), await rowsOf(page), what);
    t.is(await page.locator('input:visible, button:visible').count(), 0, what);
    await page.context().close();
  }
});

/** Rows that are seen once what folds is opened. */
async function rowsOf(page: Page): Promise<number> {
  const folded = await page.locator('details:not([open]) tbody tr').count();
  return (await page.locator('table tbody tr').count()) - folded;
}

test('12,500 customers: the first are shown at once, all are found and sorted', async (t) => {
  const { figures } = sketchReport(
    madeSketch({ customers: { oab: 12_500 }, months: 2, services: 4 }),
  );
  const { customers } = figures.currencies[0]!;
  const { page } = await openFile(t, t.context.browser, pageOf(figures), light);
  t.is((await namesSeen(page)).length, 200);
  const last = customers.at(-1)!;
  await page.keyboard.press('/');
  await page.keyboard.type(last.accounts[0]!);
  t.deepEqual(await namesSeen(page), [last.name]);
  await page.keyboard.press('Escape');
  await page.locator('#customers-1 thead button').nth(5).click();
  t.is((await namesSeen(page)).length, 200);
  await page.locator('button.more:visible').first().click();
  t.is((await namesSeen(page)).length, customers.length);
});

test('on paper: A4, with a heading and its number on each page', async (t) => {
  const missing = await installPackages('command -v pdftotext', 'poppler-utils');
  t.is(missing, undefined);
  for (const what of ['the month', 'a statement with a correction']) {
    const { page } = await openFile(t, t.context.browser, documents[what]!, {
      colorScheme: 'dark',
    });
    const heading = what === 'the month' ? 'AWS cost, October 2026' : 'Statement, October 2026';
    const sheets = await printed(t, page);
    for (const [index, sheet] of sheets.entries()) {
      t.true(sheet.includes(heading), `${what}, ${index + 1}`);
      t.true(sheet.includes(`Page ${index + 1} of ${sheets.length}`), `${what}, ${index + 1}`);
    }
    const text = sheets.join('\n');
    if (what === 'a statement with a correction') t.true(text.includes('key 15'));
    // What folds on the screen stands open on paper.
    t.true(text.includes('October 2025'), what);
    if (what !== 'the month') t.true(sheets.length <= 3, `${sheets.length} pages`);
  }
});

/** The texts of the pages that a reader's printer would get. */
async function printed(t: ExecutionContext, page: Page): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-print-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'page.pdf');
  await writeFile(file, await page.pdf({ preferCSSPageSize: true, printBackground: false }));
  const { stdout } = await promisify(execFile)('pdftotext', ['-layout', file, '-'], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.split('\f').slice(0, -1);
}
