import type { KeyObject } from 'node:crypto';
import { constants, generateKeyPairSync, privateDecrypt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import anyTest from 'ava';
import type { ExecutionContext, TestFn } from 'ava';
import { openDatabase } from '../../load/database.js';
import { parseDatabaseUrl } from '../../pipeline/config/database-address.js';
import { ConfigurationError, describeError } from '../../pipeline/shared/errors.js';
import { selfSignedCertificate } from '../support/certificate.js';
import { openFor, silent } from '../support/load-fixture.js';
import type { TestServer } from '../support/mariadb.js';
import { startServer } from '../support/mariadb.js';

const test = anyTest as TestFn<{ server: TestServer; folder: string; url: string }>;
type Context = ExecutionContext<{ server: TestServer; folder: string; url: string }>;

/** A real MariaDB with TLS, whose certificate each test chooses. */
test.before(async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-tls-'));
  t.context.folder = folder;
  await writeCertificate(folder, []);
  t.context.server = await startServer([
    `--ssl-cert=${folder}/cert.pem`,
    `--ssl-key=${folder}/key.pem`,
  ]);
  t.context.url = await t.context.server.createDatabase();
});
test.after.always(async (t) => {
  await t.context.server.stop();
  await rm(t.context.folder, { recursive: true, force: true });
});

async function writeCertificate(folder: string, names: readonly string[]): Promise<string> {
  const { cert, key } = selfSignedCertificate(names);
  await writeFile(join(folder, 'cert.pem'), cert);
  await writeFile(join(folder, 'key.pem'), key);
  return cert;
}

/** Gives the server a new certificate of these names; the file is its authority. */
async function present(t: Context, names: readonly string[]): Promise<string> {
  const { server, folder, url } = t.context;
  await writeCertificate(folder, names);
  await server.query(url, 'FLUSH SSL');
  return join(folder, 'cert.pem');
}

function at(url: string, host: string, options: Readonly<Record<string, string>>): string {
  const address = new URL(url);
  address.hostname = host;
  address.search = new URLSearchParams(options).toString();
  return address.href;
}

async function cipherOf(t: Context, url: string): Promise<unknown> {
  const database = await openFor(t, url);
  const [rows] = (await database.knex.raw("SHOW STATUS LIKE 'Ssl_cipher'")) as [
    { Value: string }[],
  ];
  return rows[0]?.Value;
}

async function refusal(t: ExecutionContext, url: string): Promise<string> {
  const error = await t.throwsAsync(openDatabase(parseDatabaseUrl(url), { log: silent }), {
    instanceOf: ConfigurationError,
  });
  const password = decodeURIComponent(new URL(url).password);
  t.false(`${describeError(error)} ${inspect(error, { depth: 9 })}`.includes(password));
  return describeError(error);
}

test.serial('a certificate is taken for the host that it names, also by its address', async (t) => {
  const { url } = t.context;
  for (const [names, host] of [
    [['127.0.0.1'], '127.0.0.1'],
    [['10.9.8.7', '127.0.0.1', 'db.example'], '127.0.0.1'],
    [['localhost'], 'localhost'],
  ] as const) {
    const ca = await present(t, names);
    for (const mode of ['verify-identity', 'verify-ca'])
      t.truthy(await cipherOf(t, at(url, host, { 'ssl-ca': ca, 'ssl-mode': mode })), mode);
    t.truthy(await cipherOf(t, at(url, host, { 'ssl': 'true', 'ssl-ca': ca })));
  }
});

test.serial(
  'a certificate of another host is refused, unless its authority is enough',
  async (t) => {
    const { url } = t.context;
    for (const [names, host] of [
      // MySQL's own certificate names nobody; the driver alone would take that of localhost for any address.
      [[], '127.0.0.1'],
      [['localhost'], '127.0.0.1'],
      [['127.0.0.2'], '127.0.0.1'],
      [['127.0.0.1'], 'localhost'],
    ] as const) {
      const ca = await present(t, names);
      const place = `${names.join()} for ${host}`;
      const told = await refusal(t, at(url, host, { 'ssl-ca': ca }));
      t.regex(told, /no trusted TLS connection .*(IP: 127|Host: localhost)/, place);
      t.regex(told, /\?ssl-mode=verify-ca/, place);
      const loose = at(url, host, { 'ssl-ca': ca, 'ssl-mode': 'verify-ca' });
      t.truthy(await cipherOf(t, loose), place);
    }
  },
);

test.serial('a certificate of another authority is always refused', async (t) => {
  const { url, folder } = t.context;
  await present(t, ['127.0.0.1']);
  const other = join(folder, 'other.pem');
  await writeFile(other, selfSignedCertificate().cert);
  for (const options of [
    { ssl: 'true' },
    { 'ssl-ca': other },
    { 'ssl-ca': other, 'ssl-mode': 'verify-ca' },
  ])
    t.regex(
      await refusal(t, at(url, '127.0.0.1', options)),
      /no trusted TLS connection .*self.signed/,
    );
});

test.serial('the authorities may be PEM text, as in a secret', async (t) => {
  const { server, folder, url } = t.context;
  const ca = await writeCertificate(folder, []);
  await server.query(url, 'FLUSH SSL');
  const location = parseDatabaseUrl(url);
  if (location.kind !== 'mysql') return t.fail();
  const database = await openDatabase(
    { ...location, ssl: { ca, mode: 'verify-ca' } },
    { log: silent },
  );
  t.teardown(() => database.close());
  t.is(database.dialect, 'mysql');
});

test.serial('a server or user that wants TLS is answered by what to add', async (t) => {
  const { server, url } = t.context;
  const ca = await present(t, ['127.0.0.1']);
  const tls = at(url, '127.0.0.1', { 'ssl-ca': ca });
  const admin = await openFor(t, tls);
  await admin.knex.raw('SET GLOBAL require_secure_transport = ON');
  try {
    // MariaDB says no more than "access denied".
    t.regex(await refusal(t, url), /\?ssl=true/);
    t.truthy(await cipherOf(t, tls));
  } finally {
    await admin.knex.raw('SET GLOBAL require_secure_transport = OFF');
  }
  await server.query(
    url,
    "CREATE USER 'careful'@'%' IDENTIFIED BY 'careful-password' REQUIRE SSL",
    `GRANT ALL ON ${new URL(url).pathname.slice(1)}.* TO 'careful'@'%'`,
  );
  const careful = (address: string): string => {
    const changed = new URL(address);
    changed.username = 'careful';
    changed.password = 'careful-password';
    return changed.href;
  };
  t.regex(await refusal(t, careful(url)), /refuses user or password .*\?ssl=true/);
  t.truthy(await cipherOf(t, careful(tls)));
});

const scramble = Buffer.from('01234567890123456789');

interface StandIn {
  url: string;
  /** What the client sent after its first packet. */
  sent: Buffer[];
  /** Settles once a client has gone. */
  left: Promise<unknown>;
}

/** Stands for no plugin: the server answers as MySQL does with require_secure_transport (error 3159). */
const careful = 'careful';

/**
 * A server without TLS that wants the password itself (MySQL's protocol, caching_sha2_password and
 * sha256_password): it offers its RSA key to whoever asks, and lets nobody in. It waits for ever where the client says nothing.
 */
async function startGreedy(t: ExecutionContext, plugin: string, key: KeyObject): Promise<StandIn> {
  const sent: Buffer[] = [];
  let leave: (value: unknown) => void = () => undefined;
  const left = new Promise((resolve) => (leave = resolve));
  const listener = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('close', leave);
    void serve(socket, plugin, key, sent).then(() => socket.end().resume());
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.teardown(() => void listener.close());
  const { port } = listener.address() as AddressInfo;
  return { url: `mysql://greedy:s3cret-pw@127.0.0.1:${port}/suivi`, sent, left };
}

async function serve(
  socket: Socket,
  plugin: string,
  key: KeyObject,
  sent: Buffer[],
): Promise<void> {
  const write = (sequence: number, ...parts: Buffer[]): void => {
    const content = Buffer.concat(parts);
    const header = Buffer.alloc(4);
    header.writeUIntLE(content.length, 0, 3);
    header[3] = sequence;
    socket.write(Buffer.concat([header, content]));
  };
  const packets = readPackets(socket);
  const next = async (): Promise<{ sequence: number; content: Buffer } | undefined> => {
    const { value } = await packets.next();
    return value === undefined ? undefined : value;
  };
  const flags = 0x00000001 | 0x00000008 | 0x00000200 | 0x00008000 | 0x00080000; // … protocol 4.1, plugins
  write(
    0,
    Buffer.from([10]),
    Buffer.from('9.7.4\0'),
    Buffer.from([1, 0, 0, 0]),
    scramble.subarray(0, 8),
    Buffer.from([0, flags & 255, (flags >> 8) & 255, 45, 2, 0, (flags >> 16) & 255, 0, 21]),
    Buffer.alloc(10),
    scramble.subarray(8),
    Buffer.from(`\0${plugin}\0`),
  );
  const login = await next();
  if (login === undefined) return;
  if (plugin === careful) {
    const text = 'Connections using insecure transport are prohibited';
    write(login.sequence + 1, Buffer.from([0xff, 0x57, 0x0c]), Buffer.from(`#HY000${text}`));
    return;
  }
  // The plugin is named once more, as a server does for an account that has another one than was tried.
  write(
    login.sequence + 1,
    Buffer.from([0xfe]),
    Buffer.from(`${plugin}\0`),
    scramble,
    Buffer.from([0]),
  );
  let answer = await next();
  if (answer !== undefined && plugin === 'caching_sha2_password') {
    write(answer.sequence + 1, Buffer.from([1, 4]));
    answer = await next();
  }
  if (answer === undefined) return;
  sent.push(answer.content);
  write(
    answer.sequence + 1,
    Buffer.from([1]),
    Buffer.from(key.export({ type: 'spki', format: 'pem' })),
  );
  const password = await next();
  if (password === undefined) return;
  sent.push(password.content);
  write(password.sequence + 1, Buffer.from([0xff, 0x15, 0x04]), Buffer.from('#28000Access denied'));
}

async function* readPackets(
  socket: Socket,
): AsyncGenerator<{ sequence: number; content: Buffer }, undefined, undefined> {
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 4 && rest.length >= 4 + rest.readUIntLE(0, 3)) {
        const end = 4 + rest.readUIntLE(0, 3);
        yield { sequence: rest[3] ?? 0, content: rest.subarray(4, end) };
        rest = rest.subarray(end);
      }
    }
  } catch {
    // The client has hung up.
  }
  return undefined;
}

/** The password in a packet, as the holder of the key reads it. */
function decrypt(content: Buffer, key: KeyObject): string {
  const masked = privateDecrypt(
    { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
    content,
  );
  return Buffer.from(masked.map((byte, index) => byte ^ scramble[index % scramble.length]!))
    .toString()
    .replace(/\0$/, '');
}

for (const plugin of ['caching_sha2_password', 'sha256_password']) {
  test(`without TLS, ${plugin} gives a server's own key no password unless asked to`, async (t) => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const greedy = await startGreedy(t, plugin, publicKey);
    const told = await refusal(t, greedy.url);
    t.regex(told, /a key of its own, without TLS.*\?ssl=true.*\?get-server-public-key=true/);
    // The connection is closed, so that the process ends, and nothing went over it.
    await greedy.left;
    t.deepEqual(greedy.sent, []);

    const trusting = await startGreedy(t, plugin, publicKey);
    t.regex(
      await refusal(t, `${trusting.url}?get-server-public-key=true`),
      /refuses user or password/,
    );
    const [request, password = Buffer.alloc(0)] = trusting.sent;
    t.deepEqual(request, Buffer.from([plugin === 'caching_sha2_password' ? 2 : 1]));
    t.is(decrypt(password, privateKey), 's3cret-pw');
  });
}

test('a plugin that sends the password as it is stays refused without TLS', async (t) => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const greedy = await startGreedy(t, 'mysql_clear_password', publicKey);
  t.regex(await refusal(t, greedy.url), /a login that is not given here/);
  await greedy.left;
  t.deepEqual(greedy.sent, []);
});

test('MySQL, which says that it wants TLS, is answered by what to add', async (t) => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const server = await startGreedy(t, careful, publicKey);
  t.regex(await refusal(t, server.url), /takes connections by TLS alone .*\?ssl=true/);
  await server.left;
});
