import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createSecure } from 'node:https';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { fetchDocument } from '../../extract/invoice-document.js';
import {
  ConfigurationError,
  DataError,
  InterruptedError,
  PipelineError,
  TransientError,
} from '../../pipeline/shared/errors.js';
import { withoutSecrets } from '../../pipeline/shared/printable.js';
import { selfSignedCertificate } from '../support/certificate.js';
import { temporaryFolder } from '../support/cli.js';
import { startProxy } from '../support/proxy.js';

const PDF = Buffer.from('%PDF-1.4\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF\n');
const SECRET = 'token=0123456789abcdef-secret';

/** A server of documents, which ends with the test. */
async function serve(
  t: ExecutionContext,
  answer: RequestListener,
  tls?: { key: string; cert: string },
): Promise<string> {
  const server = tls === undefined ? createServer(answer) : createSecure(tls, answer);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/document?${SECRET}`;
}

const fetched = (address: string, signal = new AbortController().signal): Promise<Buffer> =>
  fetchDocument(address, { where: 'GetInvoicePDF, INV-1', timeoutMs: 400, signal });

/** What it fails with; neither it nor its causes tell the address. */
async function failure(t: ExecutionContext, address: string): Promise<PipelineError> {
  const error = await fetched(address).then(
    () => t.fail('it was fetched'),
    (cause: unknown) => cause,
  );
  if (!(error instanceof PipelineError)) throw error;
  for (let one: unknown = error; one instanceof Error; one = one.cause)
    t.notRegex(`${one.message} ${JSON.stringify(one)}`, /secret|document\?/);
  t.is(error.where, 'GetInvoicePDF, INV-1');
  return error;
}

test('a PDF is fetched as it is, also where the address leads on', async (t) => {
  const address = await serve(t, ({ url = '' }: IncomingMessage, response: ServerResponse) => {
    if (url.startsWith('/document')) response.writeHead(307, { location: '/other?x=1' }).end();
    else response.end(PDF);
  });
  t.deepEqual(await fetched(address), PDF);
  t.is(withoutSecrets(`GET ${address}`), 'GET ***');
});

test('an answer of a server in trouble is asked for again, one that refuses is not', async (t) => {
  let asked = 0;
  const address = await serve(t, (_, response) => {
    asked += 1;
    if (asked === 1) response.writeHead(503).end();
    else response.end(PDF);
  });
  t.deepEqual(await fetched(address), PDF);
  t.is(asked, 2);

  let refused = 0;
  const gone = await serve(t, (_, response) => {
    refused += 1;
    response.writeHead(403).end(`<Error>expired ${SECRET}</Error>`);
  });
  const error = await failure(t, gone);
  t.true(error instanceof TransientError);
  t.regex(error.message, /127\.0\.0\.1:\d+ answered 403$/);
  t.is(refused, 1);
});

test('what breaks off is no document', async (t) => {
  const broken = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': '5000' });
    response.write(PDF, () => response.destroy());
  });
  t.regex((await failure(t, broken)).message, /it broke off \(ECONNRESET\)/);
});

test('silence ends, before the answer and in it', async (t) => {
  const silent = await serve(t, () => undefined);
  const stopped = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': '5000' }).write(PDF);
  });
  const [none, half] = await Promise.all([failure(t, silent), failure(t, stopped)]);
  t.regex(none.message, /could not be reached \(ETIMEDOUT\)/);
  t.regex(half.message, /it broke off \(TimeoutError\)/);
});

test('what is no whole PDF is no document', async (t) => {
  for (const body of ['<html>sign in</html>', PDF.subarray(0, -6), Buffer.alloc(0)]) {
    const error = await failure(t, await serve(t, (_, response) => response.end(body)));
    t.true(error instanceof DataError);
    t.regex(error.message, /is no whole PDF: \d+ bytes/);
  }
});

test('only https is an address, except on this machine; https never leads to http', async (t) => {
  for (const address of ['no address', `http://example.com/?${SECRET}`, `file:///etc/passwd`])
    t.regex((await failure(t, address)).message, /is none of https/);
  const round = await serve(t, (_, response) => {
    response.writeHead(302, { location: `/document?${SECRET}` }).end();
  });
  t.regex((await failure(t, round)).message, /leads on and on/);
});

test('whoever stops does not wait for it', async (t) => {
  const stop = new AbortController();
  const address = await serve(t, () => {
    stop.abort();
  });
  await t.throwsAsync(fetched(address, stop.signal), { instanceOf: InterruptedError });
});

// What follows sets variables of the process.
test.serial(
  'certificates are checked, by AWS_CA_BUNDLE too; https does not lead to http',
  async (t) => {
    const certificate = selfSignedCertificate();
    const plain = await serve(t, (_, response) => response.end(PDF));
    const leading = await serve(
      t,
      ({ url = '' }, response) => {
        if (url.startsWith('/plain')) response.writeHead(302, { location: plain }).end();
        else response.end(PDF);
      },
      certificate,
    );
    t.regex(
      (await failure(t, leading)).message,
      /could not be reached \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
    );
    const ca = join(await temporaryFolder(t), 'ca.pem');
    await writeFile(ca, certificate.cert);
    process.env['AWS_CA_BUNDLE'] = ca;
    t.teardown(() => Reflect.deleteProperty(process.env, 'AWS_CA_BUNDLE'));
    t.deepEqual(await fetched(leading), PDF);
    t.regex((await failure(t, leading.replace('/document', '/plain'))).message, /none of https/);
  },
);

test.serial('it goes through the proxy of the environment, whose login is asked for', async (t) => {
  const address = await serve(t, (_, response) => response.end(PDF));
  const proxy = await startProxy(t, { login: 'me:hunter7' });
  t.teardown(() => Reflect.deleteProperty(process.env, 'http_proxy'));
  process.env['http_proxy'] = proxy.url.replace('//', '//me:hunter7@');
  t.deepEqual(await fetched(address), PDF);
  t.is(proxy.asked.length, 1);
  process.env['http_proxy'] = proxy.url;
  const error = await failure(t, address);
  t.true(error instanceof ConfigurationError);
  t.regex(error.message, /the proxy asks for a login \(407\)/);
});
