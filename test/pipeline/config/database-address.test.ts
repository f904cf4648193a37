import { inspect } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import {
  parseDatabaseUrl,
  parseDatabaseSecret,
} from '../../../pipeline/config/database-address.js';
import { ConfigurationError, UsageError, describeError } from '../../../pipeline/shared/errors.js';

const server = {
  kind: 'mysql',
  host: 'db.example',
  port: 3306,
  user: 'u',
  password: 'p',
  database: 'suivi',
};

test('addresses of servers and files', (t) => {
  for (const [text, location] of [
    ['mysql://u:p@db.example/suivi', server],
    ['mariadb://u:p@db.example:3307/suivi', { ...server, port: 3307 }],
    ['mysql://u@db.example/suivi', { ...server, password: '' }],
    ['mysql://u:p@[::1]:3306/suivi', { ...server, host: '::1' }],
    [
      'mysql://u:p%40%2F%3A%23%25@db.example/a%2Db',
      { ...server, password: 'p@/:#%', database: 'a-b' },
    ],
    ['mysql://u:p@db.example/suivi?ssl=true', { ...server, ssl: {} }],
    [
      'mysql://u:p@db.example/suivi?ssl-ca=%2Fetc%2Fca.pem',
      { ...server, ssl: { ca: '/etc/ca.pem' } },
    ],
    ['mysql://u:p@db.example/suivi?ssl=true&ssl-ca=ca.pem', { ...server, ssl: { ca: 'ca.pem' } }],
    ['mysql://u:p@db.example/suivi?ssl-ca=ca.pem&ssl=true', { ...server, ssl: { ca: 'ca.pem' } }],
    [
      'mysql://u:p@db.example/suivi?ssl-mode=verify-ca&ssl-ca=ca.pem',
      { ...server, ssl: { ca: 'ca.pem', mode: 'verify-ca' } },
    ],
    [
      'mysql://u:p@db.example/suivi?ssl-mode=VERIFY_IDENTITY',
      { ...server, ssl: { mode: 'verify-identity' } },
    ],
    ['mysql://u:p@db.example/suivi?ssl=false', server],
    [
      'mysql://u:p@db.example/suivi?get-server-public-key=true',
      { ...server, getServerPublicKey: true },
    ],
    ['mysql://u:p@db.example/suivi?get-server-public-key=false', server],
    ['sqlite:billing.sqlite', { kind: 'sqlite', file: 'billing.sqlite' }],
    ['sqlite:/var/lib/a b.db', { kind: 'sqlite', file: '/var/lib/a b.db' }],
  ] as const) {
    t.deepEqual(parseDatabaseUrl(text), location as never, text);
  }
});

test('anything else is refused without repeating the password', (t) => {
  for (const text of [
    '',
    'billing.sqlite',
    'sqlite:',
    'sqlite://billing.sqlite',
    'postgres://u:hunter2@h/d',
    'mysql:u:hunter2@h/d',
    'mysql://h/d',
    'mysql://u:hunter2@h',
    'mysql://u:hunter2@h/',
    'mysql://u:hunter2@h:99999/d',
    'mysql://u:hunter2/x@h/d',
    'mysql://u:hunter2#x@h/d',
    'mysql://u:12/hunter2@h/d',
    'mysql://u:hunter2%@h/d',
    'mysql://u:p@h/d?password=hunter2',
    'mysql://u:p@h/d?ssl=hunter2',
    'mysql://u:p@h/d#hunter2',
    'mysql://u:p@h/d?ssl=false&ssl-ca=hunter2',
    'mysql://u:p@h/d?ssl-ca=hunter2&ssl-ca=ca.pem',
    'mysql://u:p@h/d?ssl-mode=verify-ca',
    'mysql://u:p@h/d?ssl-mode=hunter2',
    'mysql://u:p@h/d?ssl-mode=required',
    'mysql://u:p@h/d?get-server-public-key=hunter2',
    'mysql://u:p@h/d?__proto__=hunter2',
    'mysql://u:p@h/d?hunter2',
  ]) {
    const error = t.throws(() => parseDatabaseUrl(text), { instanceOf: UsageError }, text);
    t.false(
      `${describeError(error)} ${inspect(error, { showHidden: true })}`.includes('hunter2'),
      text,
    );
  }
});

const secret = { host: 'h', user: 'u', password: 'hunter2', database: 'd' };

test('the suivi secret says how to connect', (t) => {
  const plain = { kind: 'mysql', port: 3306, ...secret };
  const pem = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n';
  for (const [further, settings] of [
    [{}, {}],
    [{ port: '3307' }, { port: 3307 }],
    [{ ssl: true }, { ssl: {} }],
    [{ ssl: 'true' }, { ssl: {} }],
    [{ ssl: false }, {}],
    [{ ssl_ca: '/etc/ca.pem' }, { ssl: { ca: '/etc/ca.pem' } }],
    [{ 'ssl-ca': pem, 'ssl': true }, { ssl: { ca: pem } }],
    [{ ssl_ca: 'ca.pem', ssl_mode: 'VERIFY_CA' }, { ssl: { ca: 'ca.pem', mode: 'verify-ca' } }],
    [{ get_server_public_key: true }, { getServerPublicKey: true }],
  ] as const) {
    const parsed = parseDatabaseSecret({ ...secret, ...further }, 'secret/data/suivi');
    t.deepEqual(parsed, { ...plain, ...settings } as never, JSON.stringify(further));
  }
});

test('a key of the suivi secret that is unknown or wrong is named, its value never', (t) => {
  for (const [further, named] of [
    [{ sslmode: 'hunter2' }, 'sslmode is unknown'],
    [{ use_ssl: 'hunter2', tls: 'hunter2' }, 'use_ssl, tls is unknown'],
    [{ username: 'hunter2' }, 'username is unknown'],
    [{ ssl: 'hunter2' }, 'ssl is neither true nor false'],
    [{ ssl: 1 }, 'ssl is neither true nor false'],
    [{ ssl: null }, 'ssl is neither true nor false'],
    [{ ssl: '' }, 'ssl is neither true nor false'],
    [{ ssl_ca: '' }, 'ssl_ca is empty'],
    [{ ssl_ca: ['hunter2'] }, 'ssl_ca is no text'],
    [{ ssl_mode: 'hunter2' }, 'ssl_mode is neither verify-ca nor verify-identity'],
    [{ ssl_mode: 'verify_ca' }, 'ssl_mode verify-ca needs the authorities, ssl-ca'],
    [{ ssl: false, ssl_ca: 'hunter2' }, 'ssl is false beside settings of TLS'],
    [{ get_server_public_key: 'yes' }, 'get_server_public_key is neither true nor false'],
    [{ host: '' }, 'host is empty'],
    ...['hunter2', '0x10', '1e3', ' 3306', '0', '65536', 3306.5, true].map(
      (port) => [{ port }, 'port is no port'] as const,
    ),
  ] as const) {
    const error = t.throws(() => parseDatabaseSecret({ ...secret, ...further }, 'secret/suivi'), {
      instanceOf: ConfigurationError,
    });
    t.true(error.message.endsWith(`: ${named}`), error.message);
    t.false(
      `${describeError(error)} ${inspect(error, { showHidden: true })}`.includes('hunter2'),
      named,
    );
  }
});

test('every user, password and database name survives percent-encoding', (t) => {
  const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => text.trim() !== '');
  fc.assert(
    fc.property(name, name, name, (user, password, database) => {
      fc.pre(!/^\.{1,2}$/.test(database));
      const parts = [user, password, database].map(encodeURIComponent);
      const text = `mysql://${parts[0]}:${parts[1]}@h/${parts[2]}`;
      t.deepEqual(parseDatabaseUrl(text), {
        ...server,
        host: 'h',
        user,
        password,
        database,
      } as never);
    }),
  );
});
