import type { ServerResponse } from 'node:http';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { post } from '../../../pipeline/run/post.js';
import { ConfigurationError, TransientError } from '../../../pipeline/shared/errors.js';
import { selfSignedCertificate } from '../../support/certificate.js';
import { deserted, drip, hookServer } from '../../support/hook-server.js';

const over = new TransientError('the time is over');

/** Posts with so much time, and says what it failed by. */
async function tried(url: string, milliseconds = 8_000): Promise<Error | undefined> {
  const limit = new AbortController();
  const timer = setTimeout(() => {
    limit.abort(over);
  }, milliseconds);
  try {
    const headers = () => ({ 'content-type': 'application/json' });
    const sent = { body: '{"é":1}', headers, timeoutMs: milliseconds, signal: limit.signal };
    await post(new URL(url), sent);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    clearTimeout(timer);
  }
}

test('what is posted arrives whole', async (t) => {
  const server = await hookServer(t);
  t.is(await tried(`${server.url}/a/b?c=d`), undefined);
  const [told] = server.told;
  t.like(told, { method: 'POST', url: '/a/b?c=d', body: '{"é":1}' });
  t.like(told?.headers, { 'content-type': 'application/json', 'content-length': '8' });
});

/** Answers with a status each time, the last of them for good. */
const statuses =
  (...all: readonly number[]) =>
  (response: ServerResponse, nth: number): void => {
    response.writeHead(all[nth - 1] ?? all.at(-1) ?? 200, { 'retry-after': '0' }).end();
  };

for (const [first, second] of [
  [500, 200],
  [503, 202],
  [429, 204],
] as const) {
  test(`${first} and then ${second} is told at the second try`, async (t) => {
    const server = await hookServer(t, statuses(first, second));
    t.is(await tried(server.url), undefined);
    t.is(server.told.length, 2);
    t.is(server.told[1]?.body, '{"é":1}');
  });
}

test('a server that stays in trouble is tried twice, and no more', async (t) => {
  const server = await hookServer(t, statuses(500));
  const error = await tried(server.url);
  t.true(error instanceof TransientError);
  t.is(error?.message, 'it answered 500');
  t.is(server.told.length, 2);
});

test('one that asks to come back later than there is time for is not waited for', async (t) => {
  const server = await hookServer(t, (response) =>
    response.writeHead(429, { 'retry-after': '3600' }).end(),
  );
  t.is((await tried(server.url))?.message, 'it answered 429');
  t.is(server.told.length, 1);
});

test('what refuses for good is asked once, and its words are told without secrets', async (t) => {
  const server = await hookServer(t, (response) =>
    response.writeHead(404, { 'content-type': 'text/plain' }).end('no_service \u001b[31m\n'),
  );
  const error = await tried(server.url);
  t.true(error instanceof ConfigurationError);
  t.is(error?.message, 'it answered 404: no_service \\u001b[31m');
  t.is(server.told.length, 1);
});

test('an answer that repeats the address is told without any part of it', async (t) => {
  const said = 'Cannot POST /T024/short?sig=abc12 of us with p@ss1, p%40ss1, abc12';
  const server = await hookServer(t, (response) =>
    response
      .writeHead(404, { 'content-type': 'text/plain' })
      .end(`${said}, ${server.told[0]?.headers.authorization}`),
  );
  const error = await tried(`${server.url.replace('//', '//us:p%40ss1@')}/T024/short?sig=abc12`);
  t.is(error?.message, 'it answered 404: Cannot POST *** of us with ***, ***, ***, Basic ***');
});

test('a connection that is to become another protocol is no answer', async (t) => {
  const server = await hookServer(t, (response) => {
    response.socket?.write('HTTP/1.1 101 -\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n');
  });
  t.is((await tried(server.url))?.message, 'it gave no answer');
  t.is(server.told.length, 2);
});

test('what is plain stays on this machine, whatever proxy the environment names', async (t) => {
  const server = await hookServer(t);
  process.env['http_proxy'] = await deserted();
  t.teardown(() => delete process.env['http_proxy']);
  t.is(await tried(server.url), undefined);
  t.is(server.told.length, 1);
});

test('an answer that leads elsewhere is not followed', async (t) => {
  const other = await hookServer(t);
  for (const status of [301, 302, 307, 308]) {
    const server = await hookServer(t, (response) =>
      response.writeHead(status, { location: other.url }).end(),
    );
    const error = await tried(server.url);
    t.true(error instanceof ConfigurationError);
    t.regex(error?.message ?? '', /leads to another address/);
    t.is(server.told.length, 1);
  }
  t.deepEqual(other.told, []);
});

test('one that takes the text and hangs, and one that drips its head, end with the time', async (t) => {
  const hanging = await hookServer(t, () => undefined);
  const dripping = await hookServer(t, (response) => {
    drip(response, 'HTTP/1.1 200 OK\r\nx: ');
  });
  const ends = await Promise.all([hanging, dripping].map(({ url }) => tried(url, 300)));
  t.deepEqual(ends, [over, over]);
  t.deepEqual([hanging.told.length, dripping.told.length], [1, 1], 'it may have been taken');
});

test('an answer without an end is not waited for: none of success, a second of a refusal', async (t) => {
  const endless = (status: string) => (response: ServerResponse) => {
    drip(response, `HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\n\r\nsaid `);
  };
  const fine = await hookServer(t, endless('200 OK'));
  const refusing = await hookServer(t, endless('400 Bad Request'));
  t.is(await tried(fine.url, 500), undefined);
  const began = performance.now();
  t.regex((await tried(refusing.url))?.message ?? '', /^it answered 400: said x+$/);
  t.true(performance.now() - began < 4_000);
});

test('a long refusal is read as far as it is told', async (t) => {
  let end: (bytes: number) => void = () => undefined;
  const sent = new Promise<number>((resolve) => (end = resolve));
  const server = await hookServer(t, (response) => {
    const { socket } = response;
    response.writeHead(400, { 'content-type': 'text/plain' });
    const more = (): void => {
      while (response.write('y'.repeat(65_536))) if (socket?.destroyed === true) return;
    };
    response.on('drain', more);
    socket?.on('close', () => {
      end(socket.bytesWritten);
    });
    more();
  });
  const message = (await tried(server.url))?.message ?? '';
  t.is(message.length, 'it answered 400: '.length + 300);
  t.true((await sent) < 20_000_000);
});

test('where nobody listens, or the connection breaks, a second try is made and the code is told', async (t) => {
  const broken = await hookServer(t, (response) => response.socket?.destroy());
  const [away, reset] = await Promise.all([tried(await deserted()), tried(broken.url)]);
  t.is(away?.message, 'it gave no answer (ECONNREFUSED)');
  t.is(reset?.message, 'it gave no answer (ECONNRESET)');
  t.is(broken.told.length, 2);
});

test('a certificate that nobody vouches for is refused, whatever the environment says', async (t) => {
  const server = await hookServer(t, undefined, selfSignedCertificate());
  t.is(await refusedCertificate(t, server.url), 0);
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  t.teardown(() => delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']);
  t.is(await refusedCertificate(t, server.url), 0);

  async function refusedCertificate(on: ExecutionContext, url: string): Promise<number> {
    const error = await tried(url);
    on.true(error instanceof ConfigurationError);
    on.regex(error?.message ?? '', /^its certificate was not accepted \(\w+\)$/);
    return server.told.length;
  }
});
