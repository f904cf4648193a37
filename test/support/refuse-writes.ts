import fs from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import Libsql from 'libsql';
import { preloaded } from './preload.js';

/**
 * Loaded into the command before its own code: after `ROOM_LEFT` bytes, files and SQLite refuse what
 * is written as a full disk does. It stands in for one where none can be mounted.
 */

const self = fileURLToPath(import.meta.url);

/** The environment in which the command finds so many bytes of room. */
export function refuseWrites(left: number): Record<string, string> {
  return { ...preloaded(self), ROOM_LEFT: String(left) };
}

const { ROOM_LEFT } = process.env;
if (ROOM_LEFT !== undefined) await install(Number(ROOM_LEFT));

async function install(room: number): Promise<void> {
  let left = room;
  const handle = await fs.open(self);
  await handle.close();
  before(Object.getPrototypeOf(handle) as object, 'writeFile', ([content]) => {
    left -= content instanceof Uint8Array ? content.length : 0;
    if (left < 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  });
  before(Libsql.prototype, 'prepare', ([sql]) => {
    if (!/^(insert|create)/i.test(String(sql))) return;
    throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' });
  });
}

function before(target: object, method: string, check: (args: unknown[]) => void): void {
  const original: unknown = Reflect.get(target, method);
  if (typeof original !== 'function') throw new Error(`there is no ${method}`);
  Reflect.set(target, method, function (this: unknown, ...args: unknown[]): unknown {
    check(args);
    const result: unknown = Reflect.apply(original, this, args);
    return result;
  });
}
