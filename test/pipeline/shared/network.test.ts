import test from 'ava';
import fc from 'fast-check';
import { ConfigurationError } from '../../../pipeline/shared/errors.js';
import { sdkAgents } from '../../../pipeline/shared/agents.js';
import { proxyFaults, proxyFor } from '../../../pipeline/shared/network.js';

const PROXY = 'http://proxy.example:3128';

const way = (url: string, env: Record<string, string>): string | undefined =>
  proxyFor(new URL(url), env)?.url.href;

// What Python's urllib.request answers (getproxies_environment, proxy_bypass_environment), which botocore asks.
const rows: [string, Record<string, string>, string | undefined][] = [
  ['https://a.example', {}, undefined],
  ['https://a.example', { HTTPS_PROXY: PROXY }, `${PROXY}/`],
  ['https://a.example', { https_proxy: 'proxy.example:3128' }, `${PROXY}/`],
  ['https://a.example', { https_proxy: '//proxy.example:3128' }, `${PROXY}/`],
  ['https://a.example', { HTTP_PROXY: PROXY }, undefined],
  ['https://a.example', { ALL_PROXY: PROXY }, undefined],
  ['http://a.example', { HTTP_PROXY: PROXY }, `${PROXY}/`],
  ['https://a.example', { HTTPS_PROXY: 'http://other', https_proxy: PROXY }, `${PROXY}/`],
  ['https://a.example', { HTTPS_PROXY: PROXY, https_proxy: '' }, undefined],
  ['https://a.example', { HTTPS_PROXY: PROXY, NO_PROXY: '*' }, undefined],
  ['https://a.example', { HTTPS_PROXY: PROXY, NO_PROXY: 'a.example' }, undefined],
  ['https://a.example', { HTTPS_PROXY: PROXY, NO_PROXY: 'b, .EXAMPLE ' }, undefined],
  ['https://A.example', { HTTPS_PROXY: PROXY, no_proxy: 'example' }, undefined],
  ['https://a.example', { HTTPS_PROXY: PROXY, NO_PROXY: 'example', no_proxy: 'x' }, `${PROXY}/`],
  ['https://a.example', { HTTPS_PROXY: PROXY, NO_PROXY: 'ample' }, `${PROXY}/`],
  ['https://a.example', { HTTPS_PROXY: PROXY, NO_PROXY: '*.example' }, `${PROXY}/`],
  ['https://a.example:1', { HTTPS_PROXY: PROXY, NO_PROXY: 'a.example:1' }, undefined],
  ['https://a.example:1', { HTTPS_PROXY: PROXY, NO_PROXY: 'example:2' }, `${PROXY}/`],
  ['https://127.0.0.1:1', { HTTPS_PROXY: PROXY }, `${PROXY}/`],
  ['https://localhost', { HTTPS_PROXY: PROXY, NO_PROXY: '' }, `${PROXY}/`],
  ['https://[::1]:1', { HTTPS_PROXY: PROXY, NO_PROXY: '::1' }, undefined],
];
for (const [url, env, proxy] of rows) {
  test(`${url} with ${JSON.stringify(env)} goes ${proxy === undefined ? 'directly' : 'through it'}`, (t) => {
    t.is(way(url, env), proxy);
  });
}

test('what is no proxy is refused by its name, whatever it holds', (t) => {
  for (const value of [
    'socks5://u:hunter7@h:1',
    'http://u:%hunter7@h',
    'http://u:hunter7#@h',
    'http://u:p@',
    'http://h:hunter7',
    'http://h/hunter7',
  ]) {
    const error = t.throws(() => way('https://a.example', { HTTPS_PROXY: value }), {
      instanceOf: ConfigurationError,
    });
    t.is(error.where, 'HTTPS_PROXY');
    t.false(`${error.message}${error.next ?? ''}${String(error.cause)}`.includes('hunter7'));
    t.regex(proxyFaults({ HTTPS_PROXY: value }).join(), /^HTTPS_PROXY: is no proxy's address/);
  }
});

test('a host is reached directly when it or any parent of it is in the list, and only then', (t) => {
  const label = fc.stringMatching(/^[a-z][a-z0-9]{0,4}$/);
  const labels = fc.array(label, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(labels, labels, fc.nat(4), (host, other, depth) => {
      const named = host.slice(Math.min(depth, host.length - 1));
      const env = {
        HTTPS_PROXY: PROXY,
        NO_PROXY: [...other.map((x) => `${x}-`), named.join('.')].join(),
      };
      t.is(way(`https://${host.join('.')}`, env), undefined);
      t.is(way(`https://x${host.join('.')}y`, env), `${PROXY}/`);
    }),
  );
});

test('without proxy and bundle the SDK keeps its own agents', (t) => {
  t.deepEqual(sdkAgents(1000, {}), {});
  t.deepEqual(sdkAgents(1000, { HTTPS_PROXY: '', NO_PROXY: 'x', AWS_CA_BUNDLE: '' }), {});
});
