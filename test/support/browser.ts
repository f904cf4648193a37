import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ExecutionContext } from 'ava';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { findProgram, installPackages } from './debian.js';

/**
 * A real browser: the one that `CHROMIUM_PATH` names, else this machine's, else Debian's, which is installed
 * where that is possible. It asks nobody for anything.
 */
export async function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: await provideChromium(),
    args: ['--no-sandbox', '--disable-background-networking', '--font-render-hinting=none'],
  });
}

async function provideChromium(): Promise<string> {
  const given = process.env['CHROMIUM_PATH'];
  if (given !== undefined && given !== '') return given;
  const failure = await installPackages('command -v chromium', 'chromium');
  const found = await findProgram('chromium');
  if (found === undefined) throw new Error(`no chromium: ${failure ?? 'its package has none'}`);
  return found;
}

/** A page that is open in a browser, and all that must not have happened with it. */
export interface Opened {
  page: Page;
  /** Errors and warnings of its console, and what it threw. */
  complaints: string[];
  /** Every address that it asked for, but its own file. */
  requests: string[];
}

/** Opens an HTML text as a file of the disk, as readers do; both are gone with the test. */
export async function openFile(
  t: ExecutionContext,
  browser: Browser,
  html: string,
  options: BrowserContextOptions = {},
): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-page-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'index.html');
  await writeFile(file, html);
  const address = pathToFileURL(file).href;
  const context = await browser.newContext(options);
  t.teardown(() => context.close());
  // A machine that does much else takes its time.
  context.setDefaultTimeout(180_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  context.on('request', (request) => {
    if (request.url() !== address) requests.push(request.url());
  });
  await page.goto(address, { waitUntil: 'load' });
  return { page, complaints, requests };
}
