import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/** What came to a hook. */
export interface Told {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface HookServer {
  /** `http://127.0.0.1:PORT` or `https://…`. */
  url: string;
  told: Told[];
}

/**
 * A real server on 127.0.0.1 that ends with the test.
 * @param answer to the n-th request, from 1; it may never end.
 */
export async function hookServer(
  t: { teardown: (end: () => Promise<unknown>) => void },
  answer: (response: ServerResponse, nth: number) => void = (response) => response.end('ok'),
  tls?: { key: string; cert: string },
): Promise<HookServer> {
  const told: Told[] = [];
  const sockets = new Set<Socket>();
  const listen = (incoming: IncomingMessage, response: ServerResponse): void => {
    let body = '';
    incoming.setEncoding('utf8').on('data', (text: string) => (body += text));
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming;
      told.push({ method, url, headers, body });
      answer(response, told.length);
    });
  };
  const server = tls === undefined ? createServer(listen) : createSecureServer(tls, listen);
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http${tls === undefined ? '' : 's'}://127.0.0.1:${port}`, told };
}

/** Answers with a byte now and then, and never ends. */
export function drip(response: ServerResponse, head: string): void {
  const socket = response.socket;
  socket?.write(head);
  const timer = setInterval(() => socket?.write('x'), 20);
  socket?.on('close', () => {
    clearInterval(timer);
  });
}

/** An address of this machine at which nobody listens. */
export async function deserted(): Promise<string> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}
