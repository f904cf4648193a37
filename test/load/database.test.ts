import test from 'ava';
import fc from 'fast-check';
import { inspect } from 'node:util';
import { describeError, UsageError } from '../../pipeline/errors.js';
import { parseDatabaseUrl } from '../../load/database.js';

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
  ]) {
    const error = t.throws(() => parseDatabaseUrl(text), { instanceOf: UsageError }, text);
    t.false(
      `${describeError(error)} ${inspect(error, { showHidden: true })}`.includes('hunter2'),
      text,
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
