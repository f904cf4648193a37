import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import type { ExecutionContext } from 'ava';
import mysql from 'mysql2';

/** Servers as no honest one is; each ends with its test. */

/** Listens on a free port of 127.0.0.1, and ends every connection with the test. */
async function listen(
  t: ExecutionContext,
  server: {
    listen(port: number, host: string): unknown;
    close(): unknown;
    address(): unknown;
  } & NodeJS.EventEmitter,
): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/** Accepts every connection and says nothing. */
export async function mute(t: ExecutionContext): Promise<{ port: number }> {
  return {
    port: await listen(
      t,
      createServer(() => undefined),
    ),
  };
}

/** Answers HTTP requests as the function does. @returns its address. */
export async function httpServer(
  t: ExecutionContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createHttpServer((request, response) => {
    request.resume();
    answer(request, response);
  });
  return `http://127.0.0.1:${await listen(t, server)}`;
}

/** An answer that begins well and then drips, a byte each 50 milliseconds, for ever. */
export function drip(
  response: ServerResponse,
  begin: string,
  headers: Record<string, string>,
): void {
  response.writeHead(200, headers);
  response.write(begin);
  const timer = setInterval(() => response.write(' '), 50);
  response.once('close', () => {
    clearInterval(timer);
  });
}

/** An answer whose bytes never end, as fast as they are taken. @returns how many were sent. */
export function flood(response: ServerResponse, headers: Record<string, string>): void {
  response.writeHead(200, headers);
  const chunk = Buffer.alloc(256 * 1024, ' ');
  const more = (): void => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
}

/** mysql2's own connection on the server's side, as far as its types leave it open. */
interface Served extends mysql.Connection {
  serverHandshake(settings: object): void;
  /** Sends a packet; `null` as a statement's file name makes the client send that file. */
  writePacket(packet: unknown): void;
  writeOk(): void;
  sequenceId: number;
  stream: Socket;
}

/**
 * A MySQL server that lets everybody in, and does to each statement what the function does: where it does
 * nothing, the server says nothing.
 */
export async function rogueMysql(
  t: ExecutionContext,
  answer: (connection: Served, sql: string) => void,
): Promise<string> {
  const server = createServer((stream) => {
    const connection = mysql.createConnection({
      stream,
      isServer: true,
    } as unknown as mysql.ConnectionOptions) as unknown as Served;
    connection.on('error', () => undefined);
    connection.serverHandshake({
      protocolVersion: 10,
      serverVersion: '8.0.0',
      connectionId: 1,
      statusFlags: 2,
      characterSet: 45,
      capabilityFlags: 0xffffff & ~0x800 & ~0x20,
    });
    (connection as NodeJS.EventEmitter).on('query', (sql: string) => {
      answer(connection, sql);
    });
  });
  return `mysql://u@127.0.0.1:${await listen(t, server)}/d`;
}

/** Asks the client for a file of its machine (protocol: 0xFB and the name), and then says nothing. */
export function askForFile(connection: Served, file: string): void {
  const name = Buffer.from(file);
  const head = Buffer.from([name.length + 1, 0, 0, 1, 0xfb]);
  connection.stream.write(Buffer.concat([head, name]));
}

/** What stands between a client and a real server, and freezes as soon as the client says a word. */
export async function freezingProxy(
  t: ExecutionContext,
  target: string,
  word: string,
): Promise<{ address: string; isFrozen: () => boolean }> {
  const to = new URL(target);
  let frozen = false;
  const server = createServer((client) => {
    const upstream = connect(Number(to.port), to.hostname);
    t.teardown(() => upstream.destroy());
    upstream.on('error', () => client.destroy()).once('close', () => client.destroy());
    client.on('error', () => undefined).once('close', () => upstream.destroy());
    upstream.on('data', (data) => client.write(data));
    client.on('data', (data) => {
      upstream.write(data);
      if (!data.includes(word)) return;
      // Neither reads nor writes any more; the connections stay.
      client.pause();
      upstream.pause();
      frozen = true;
    });
  });
  const port = await listen(t, server);
  const address = new URL(target);
  address.port = String(port);
  return { address: address.href, isFrozen: () => frozen };
}
