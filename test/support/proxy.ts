import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, request } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';

export interface ProxyOptions {
  /** `USER:PASSWORD` that every request must carry; others are answered 407. */
  login?: string;
  /** Answers every request so, instead of sending it on. */
  status?: number;
  /** Takes connections, and never answers. */
  silent?: boolean;
}

/** A real HTTP proxy on 127.0.0.1: tunnels for https (CONNECT), absolute addresses for http. */
export interface TestProxy {
  /** `http://127.0.0.1:PORT`. */
  url: string;
  /** What it was asked for: `CONNECT host:port` or `POST http://host:port/path`. */
  asked: string[];
}

/** Starts a proxy that ends with the test. */
export async function startProxy(
  t: { teardown: (end: () => Promise<unknown>) => void },
  { login, status, silent = false }: ProxyOptions = {},
): Promise<TestProxy> {
  const asked: string[] = [];
  const sockets = new Set<Duplex>();
  const allowed =
    login === undefined ? undefined : `Basic ${Buffer.from(login).toString('base64')}`;
  /** The status to refuse with; `undefined`: the request goes on. */
  const refusal = (incoming: IncomingMessage): number | undefined => {
    asked.push(`${incoming.method ?? ''} ${incoming.url ?? ''}`);
    const isAllowed = allowed === undefined || incoming.headers['proxy-authorization'] === allowed;
    return isAllowed ? status : 407;
  };
  const server = createServer((incoming, response) => {
    const refused = refusal(incoming);
    if (silent) return;
    if (refused !== undefined) {
      response.writeHead(refused).end('refused by the proxy');
      return;
    }
    const own = ['proxy-authorization', 'proxy-connection'];
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).filter(([name]) => !own.includes(name)),
    );
    const outgoing = request(incoming.url ?? '', { method: incoming.method, headers });
    outgoing.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.writeHead(502).end());
    incoming.pipe(outgoing);
  });
  server.on('connect', (incoming: IncomingMessage, socket: Duplex) => {
    const refused = refusal(incoming);
    if (silent) return;
    if (refused !== undefined) {
      socket.end(`HTTP/1.1 ${refused} Refused\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const url = new URL(`http://${incoming.url ?? ''}`);
    const target = connect(Number(url.port), url.hostname, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(socket).pipe(target);
    });
    sockets.add(target);
    target.on('error', () => socket.destroy());
    socket.on('error', () => target.destroy());
  });
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
  return { url: `http://127.0.0.1:${port}`, asked };
}
