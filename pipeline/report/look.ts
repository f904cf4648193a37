import { readInput } from '../shared/files.js';
import { UsageError, describeError } from '../shared/errors.js';
import type { SettingValues } from '../config/settings.js';
import type { Look } from './figures.js';

/** Most bytes of a logo: it is in every page. */
const LARGEST = 256 * 1024;

const png = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * What the settings say of a report's look, the logo read and turned into an address that asks for nothing.
 * @throws {UsageError} when the logo cannot be read, or is neither a PNG nor an SVG file.
 */
export async function readLook(settings: SettingValues['report']): Promise<Look> {
  const { title = null, footer = null, logo, locale, currency } = settings;
  return {
    title,
    footer,
    locale,
    currency,
    logo: logo === undefined ? null : await readLogo(logo),
  };
}

async function readLogo(file: string): Promise<string> {
  const fault = (what: string, cause?: unknown): UsageError =>
    new UsageError(`"report.logo" in the configuration file: ${what}`, {
      where: file,
      next: `name a PNG or SVG file of at most ${LARGEST / 1024} KiB`,
      cause,
    });
  let bytes: Buffer;
  try {
    bytes = await readInput(file);
  } catch (cause) {
    throw fault(`the logo cannot be read: ${describeError(cause)}`, cause);
  }
  if (bytes.length > LARGEST) throw fault(`the logo has ${bytes.length} bytes`);
  // As an image, an SVG runs no script and asks for nothing (SVG 2, secure static mode).
  const type = png.every((byte, index) => bytes[index] === byte)
    ? 'image/png'
    : /^\s*(?:<\?xml[^>]*>\s*)?(?:<!--[^]*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]/.test(
          bytes.subarray(0, 4096).toString('utf8'),
        )
      ? 'image/svg+xml'
      : undefined;
  if (type === undefined) throw fault('the logo is neither PNG nor SVG');
  return `data:${type};base64,${bytes.toString('base64')}`;
}
