import test from 'ava';
import { costAndUsage, followTokens, listAccounts } from '../../extract/organization-source.js';
import type { OrganizationAccess } from '../../extract/organizations.js';
import type { FetchedPage } from '../../extract/pages.js';
import { openSession } from '../../extract/session.js';
import { DataError, InterruptedError, TransientError } from '../../pipeline/shared/errors.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { costQuery } from '../../pipeline/staging/manifest.js';
import { drip, flood, httpServer } from '../support/hostile.js';
import { silent } from '../support/load-fixture.js';

// The SDK finds the hostile servers by the environment: one after the other.

const access: OrganizationAccess = {
  name: 'oab',
  region: 'us-east-1',
  credentials: { kind: 'keys', accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'secret' },
  role: undefined,
  billingViewArn: undefined,
  listAccounts: true,
};
const role = {
  arn: 'arn:aws:iam::123456789012:role/billing',
  sessionName: 'billing',
  externalId: undefined,
};
const json = { 'content-type': 'application/x-amz-json-1.1' };
const xml = { 'content-type': 'text/xml' };

/** One request to the service at the address, with one try. */
function ask(
  service: string,
  url: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<unknown> {
  process.env[`AWS_ENDPOINT_URL_${service}`] = url;
  process.env['AWS_MAX_ATTEMPTS'] = '1';
  const organization = service === 'STS' ? { ...access, role } : access;
  const session = openSession(organization, { log: silent, timeoutMs });
  if (service === 'COST_EXPLORER') {
    const question = {
      month: parseMonth('2026-10'),
      scope: { ...plainScope, billingViewArn: null },
      query: costQuery,
    };
    return costAndUsage(session, question, [], signal, () => undefined).next();
  }
  return listAccounts(session, signal).next();
}

for (const service of ['COST_EXPLORER', 'ORGANIZATIONS', 'STS']) {
  test.serial(`an answer of AWS that drips or never ends is given up: ${service}`, async (t) => {
    const headers = service === 'STS' ? xml : json;
    const begin = service === 'STS' ? '<AssumeRoleResponse>' : '{"ResultsByTime":[';
    const { signal } = new AbortController();
    const dripping = await httpServer(t, (_request, response) => {
      drip(response, begin, headers);
    });
    await t.throwsAsync(ask(service, dripping, 1000, signal), {
      instanceOf: TransientError,
      message: 'AWS answered without an end: the answer did not end within 5 s',
    });
    const flooding = await httpServer(t, (_request, response) => {
      flood(response, headers);
    });
    await t.throwsAsync(ask(service, flooding, 60_000, signal), {
      instanceOf: TransientError,
      message: 'AWS answered without an end: the answer is longer than 32 MiB',
    });
  });

  test.serial(`the signal ends a dripping answer at once: ${service}`, async (t) => {
    const stop = new AbortController();
    const dripping = await httpServer(t, (_request, response) => {
      drip(response, '{', json);
      stop.abort();
    });
    await t.throwsAsync(ask(service, dripping, 3_600_000, stop.signal), {
      instanceOf: InterruptedError,
    });
  });
}

test('tokens that lead on for ever end after 10,000 pages', async (t) => {
  let asked = 0;
  const page = (): Promise<FetchedPage> =>
    Promise.resolve({ content: new Uint8Array(), rows: 0, nextToken: `token ${++asked}` });
  const read = async (): Promise<void> => {
    for await (const { rows } of followTokens(page, [], 'here')) if (rows > 0) t.fail();
  };
  await t.throwsAsync(read(), { instanceOf: DataError, message: /10000 pages/ });
  t.is(asked, 10_000);
});
