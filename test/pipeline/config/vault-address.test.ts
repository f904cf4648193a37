import test from 'ava';
import fc from 'fast-check';
import { vaultEndpoint, vaultPath } from '../../../pipeline/config/vault-address.js';
import { ConfigurationError } from '../../../pipeline/shared/errors.js';

const ADDRESS = 'https://vault.example.com:8200';

for (const written of [
  'auth/approle/login',
  '/auth/approle/login',
  'v1/auth/approle/login',
  '/v1/auth/approle/login/',
  ' auth/approle/login\n',
  'https://vault.example.com:8200/v1/auth/approle/login',
  'HTTPS://VAULT.example.com:8200/v1/auth/approle/login',
]) {
  test(`${JSON.stringify(written)} is auth/approle/login`, (t) => {
    t.is(vaultPath(written, ADDRESS), 'auth/approle/login');
  });
}

test('any path comes back the same from every way of writing it', (t) => {
  const name = fc.stringMatching(/^[a-z0-9_-]{1,10}$/).filter((part) => part !== 'v1');
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), (parts) => {
      const path = parts.join('/');
      for (const written of [
        path,
        `/${path}`,
        `v1/${path}`,
        `/v1/${path}`,
        `${ADDRESS}/v1/${path}`,
      ])
        t.is(vaultPath(written, ADDRESS), path);
    }),
  );
});

test("a query, such as a version's, stays; a path before /v1 belongs to the address", (t) => {
  t.is(vaultPath(`${ADDRESS}/v1/kv/data/aws?version=3`, ADDRESS), 'kv/data/aws?version=3');
  t.is(vaultPath(`${ADDRESS}/hidden/v1/kv/aws`, `${ADDRESS}/hidden`), 'kv/aws');
});

test('the default port is the same server; another host, port or scheme is not', (t) => {
  t.is(vaultPath('https://v.example:443/v1/kv/aws', 'https://v.example'), 'kv/aws');
  for (const other of [
    'https://other.example.com:8200/v1/kv/aws',
    'https://vault.example.com/v1/kv/aws',
    'http://vault.example.com:8200/v1/kv/aws',
  ]) {
    t.throws(() => vaultPath(other, ADDRESS), {
      instanceOf: ConfigurationError,
      message: /another server than Vault's address https:\/\/vault\.example\.com:8200/,
    });
  }
});

test('an empty path is a fault', (t) => {
  for (const written of ['', '/', 'v1', '/v1/', `${ADDRESS}/v1`])
    t.throws(() => vaultPath(written, ADDRESS), { instanceOf: ConfigurationError });
});

test('the address loses its slashes and /v1; what is no plain http address is refused', (t) => {
  t.is(vaultEndpoint(`${ADDRESS}/`), ADDRESS);
  t.is(vaultEndpoint(`${ADDRESS}/v1/`), ADDRESS);
  t.is(vaultEndpoint(`${ADDRESS}/base/`), `${ADDRESS}/base`);
  for (const wrong of ['vault.example.com', 'ftp://vault', 'https://user:hidden@vault', '']) {
    const error = t.throws(() => vaultEndpoint(wrong), { instanceOf: ConfigurationError });
    t.false(JSON.stringify(error).includes('hidden'));
  }
});
