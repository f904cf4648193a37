import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { crc32 } from 'node:zlib';
import { startBrowser } from '../support/browser.js';

/** The README's picture of the month's page: down to what moved up, as a PNG that remembers which page it shows. */

/** Of the page, and of each of its points in the picture. */
const VIEW = { width: 1080, height: 958 };
const SCALE = 1;

/** A text chunk of PNG with what the page was (PNG specification, 11.3.4.3). */
const KEYWORD = 'Page SHA-256';

/**
 * The picture that is there, when it shows this page, else a new one.
 * @param old the file that is there, empty where there is none.
 * @param html the page, without times that differ from one run to the next.
 */
export async function reportPicture(old: Buffer, html: string): Promise<Buffer> {
  const page = createHash('sha256').update(html).digest('hex');
  return pictureOf(old) === page ? old : withText(await photograph(html), page);
}

/** The page that a picture says it shows; `undefined` where it says nothing. */
export function pictureOf(png: Buffer): string | undefined {
  const at = png.indexOf(`tEXt${KEYWORD}\0`);
  if (at < 0) return undefined;
  return png.toString('latin1', at + 4 + KEYWORD.length + 1, at + 4 + png.readUInt32BE(at - 4));
}

async function photograph(html: string): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'billing-picture-'));
  const browser = await startBrowser();
  try {
    const file = join(folder, 'index.html');
    await writeFile(file, html);
    const page = await browser.newPage({ viewport: VIEW, deviceScaleFactor: SCALE });
    await page.goto(pathToFileURL(file).href);
    return await page.screenshot();
  } finally {
    await browser.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A PNG's signature, and the length of its first chunk with all around it. */
const FIRST_CHUNK_ENDS = 8 + 25;

function withText(png: Buffer, text: string): Buffer {
  const content = Buffer.from(`tEXt${KEYWORD}\0${text}`, 'latin1');
  const chunk = Buffer.alloc(content.length + 8);
  chunk.writeUInt32BE(content.length - 4, 0);
  content.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(content), content.length + 4);
  return Buffer.concat([png.subarray(0, FIRST_CHUNK_ENDS), chunk, png.subarray(FIRST_CHUNK_ENDS)]);
}
