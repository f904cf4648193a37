import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BrowserType } from 'playwright-core';
import {
  ConfigurationError,
  UsageError,
  describeError,
  throwIfInterrupted,
} from '../shared/errors.js';

/** Where Chromium and what is built from it usually lie. */
const usual: readonly string[] = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/usr/bin/microsoft-edge',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe',
];

/**
 * Prints pages as PDF, with one browser for all of them.
 * @param folder where the pages lie, and where each page's PDF goes, beside it.
 * @param pages their paths below the folder.
 * @returns the PDFs' paths below the folder.
 * @throws {UsageError} when there is no playwright-core or no browser.
 */
export async function printPages(
  folder: string,
  pages: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  const { chromium, executablePath } = await findPrinter();
  const failed = (cause: unknown): ConfigurationError =>
    new ConfigurationError(`the browser cannot print: ${describeError(cause)}`, {
      where: executablePath,
      next: 'see whether it starts by itself, or name another one with CHROMIUM_PATH',
      cause,
    });
  const browser = await chromium
    .launch({
      executablePath,
      // As root, Chromium starts without its sandbox only; the pages are our own, and run no script to be printed.
      args: [
        'disable-background-networking',
        ...(process.getuid?.() === 0 ? ['no-sandbox'] : []),
      ].map((flag) => `--${flag}`),
    })
    .catch((cause: unknown) => {
      throw failed(cause);
    });
  try {
    const context = await browser.newContext({ javaScriptEnabled: false, offline: true });
    const page = await context.newPage();
    const printed: string[] = [];
    for (const name of pages) {
      throwIfInterrupted(signal);
      const pdf = name.replace(/\.html$/, '.pdf');
      await page.goto(pathToFileURL(join(folder, name)).href);
      await page.pdf({
        path: join(folder, pdf),
        preferCSSPageSize: true,
        printBackground: true,
        tagged: true,
      });
      printed.push(pdf);
    }
    return printed;
  } catch (cause) {
    throwIfInterrupted(signal);
    throw failed(cause);
  } finally {
    await browser.close();
  }
}

/**
 * What prints: asked for before the pages are made, so that nobody waits for them in vain.
 * @throws {UsageError} when there is no playwright-core or no browser.
 */
export async function findPrinter(): Promise<{ chromium: BrowserType; executablePath: string }> {
  const { chromium } = await loadPlaywright();
  return { chromium, executablePath: await findBrowser() };
}

/** A package that nobody needs who prints no PDF, and so installs for themselves. */
async function loadPlaywright(): Promise<{ chromium: BrowserType }> {
  try {
    return await import('playwright-core');
  } catch (cause) {
    throw new UsageError('PDF needs the package playwright-core, which is not installed', {
      where: '--format pdf',
      next: 'install it with "npm install playwright-core" and Chromium with "apt-get install chromium", or print the pages from a browser',
      cause,
    });
  }
}

async function findBrowser(): Promise<string> {
  const named = process.env['CHROMIUM_PATH'] ?? '';
  for (const path of named === '' ? usual : [named]) {
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // The next place.
    }
  }
  throw new UsageError(
    named === ''
      ? 'PDF needs Chromium or Chrome, and none is in the usual places'
      : 'PDF needs the browser that CHROMIUM_PATH names, and there is none',
    {
      where: named === '' ? '--format pdf' : named,
      next: 'install one, on Debian with "apt-get install chromium", or name it with CHROMIUM_PATH',
    },
  );
}
