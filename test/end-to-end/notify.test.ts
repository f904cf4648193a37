import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { Webhook } from 'standardwebhooks';
import { stringify } from 'yaml';
import { runRecord } from '../../pipeline/run/record.js';
import { selfSignedCertificate } from '../support/certificate.js';
import { pipeline } from '../support/cli.js';
import { drip, hookServer } from '../support/hook-server.js';
import { startProxy } from '../support/proxy.js';
import { month, world } from '../support/world.js';

const extract = ['run', '--month', month, '--stage', 'extract'];
const secret = `whsec_${randomBytes(32).toString('base64')}`;
/** As long as the secrets in Slack's addresses are. */
const token = 'hunter7'.repeat(4);

test('a run tells its webhook over TLS and a proxy, Slack and Teams, and the summary file the same', async (t) => {
  const { folder, run, runWith } = await world(t);
  const certificate = selfSignedCertificate();
  const [webhook, slack, teams] = await Promise.all([
    hookServer(t, undefined, certificate),
    hookServer(t),
    hookServer(t, (response) => response.writeHead(202).end()),
  ]);
  const proxy = await startProxy(t);
  await writeFile(join(folder, 'ca.pem'), certificate.cert);
  const notify = [
    { webhookFrom: 'HOOK', secretFrom: 'HOOK_SECRET', on: 'always' },
    { slackFrom: 'SLACK', on: 'always' },
    { teams: `${teams.url}/workflows/x?sig=${token}`, on: ['failure', 'always'] },
    { slack: `${slack.url}/failures`, on: 'failure' },
  ];
  await writeFile(join(folder, 'pipeline.config.yaml'), stringify({ notify }));
  const env = {
    HOOK: `${webhook.url}/billing`,
    HOOK_SECRET: secret,
    SLACK: `${slack.url}/services/T0/B0/${token}`,
    NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
    HTTPS_PROXY: proxy.url,
  };
  const unset = await run(...extract);
  t.is(unset.code, 2);
  t.regex(
    unset.stderr,
    /notify\.0\.webhookFrom.* not set\n.*notify\.0\.secretFrom.* not set\n.*slackFrom/,
  );
  // Those of which nothing is wrong are told of it, in lines of our own.
  t.deepEqual(
    [slack, teams].map(({ told }) => told.splice(0).length),
    [1, 1],
  );
  t.deepEqual(webhook.told, []);

  const check = await runWith(env, 'check');
  const host = (url: string): string => new URL(url).host;
  t.regex(
    check.stdout,
    new RegExp(`^ok +notify +webhook at ${host(webhook.url)}, on always$`, 'm'),
  );
  t.regex(
    check.stdout,
    new RegExp(`^ok +notify +teams at ${host(teams.url)}, on failure, always$`, 'm'),
  );
  t.regex(check.stdout, /^ok +from environment +.*HOOK, HOOK_SECRET.*, SLACK/m);
  t.deepEqual([webhook.told, slack.told, teams.told], [[], [], []], 'check tells nobody');

  const flags = ['--quiet', '--summary', 'runs.jsonl'];
  const { code, stdout, stderr } = await runWith(env, ...extract, ...flags);
  t.is(code, 0, stderr);
  t.deepEqual([stdout, stderr], ['', ''], 'all were told');
  const [line = ''] = (await readFile(join(folder, 'runs.jsonl'), 'utf8')).split('\n');
  const [told] = webhook.told;
  t.is(told?.body, line);
  t.like(told, { method: 'POST', url: '/billing' });
  const verified = new Webhook(secret).verify(line, told?.headers as Record<string, string>);
  t.like(runRecord.parse(verified), {
    outcome: 'ok',
    months: [month],
    organizations: ['internal', 'oab'],
  });
  t.deepEqual(proxy.asked, [`CONNECT ${host(webhook.url)}`]);
  t.deepEqual(
    slack.told.map(({ url }) => url),
    [`/services/T0/B0/${token}`],
  );
  t.regex(slack.told[0]?.body ?? '', /^\{"text":"AWS billing run done: 2026-10\\n2 done; /);
  t.is(teams.told[0]?.url, `/workflows/x?sig=${token}`);
  t.regex(teams.told[0]?.body ?? '', /"text":"AWS billing run done: 2026-10"/);
  t.notRegex(stdout + stderr + line + check.stdout, /hunter7/);
});

test('hooks that fail, hang, drip or are not trusted cost a run ten seconds and a warning each, and no more', async (t) => {
  const { folder, runWith } = await world(t);
  const other = await hookServer(t);
  let arrived = 0;
  const [refusing, hanging, dripping, leading, untrusted] = await Promise.all([
    hookServer(t, (response) =>
      response.writeHead(403, { 'content-type': 'text/plain' }).end(`no ${token}`),
    ),
    hookServer(t, () => {
      arrived = performance.now();
    }),
    hookServer(t, (response) => {
      drip(response, 'HTTP/1.1 200 OK\r\nx: ');
    }),
    hookServer(t, (response) => response.writeHead(302, { location: other.url }).end()),
    hookServer(t, undefined, selfSignedCertificate()),
  ]);
  const all = [refusing, hanging, dripping, leading, untrusted];
  const notify = all.map(({ url }) => ({ slack: `${url}/services/${token}`, on: 'always' }));
  await writeFile(join(folder, 'pipeline.config.yaml'), stringify({ notify }));
  const { code, stdout, stderr } = await runWith({}, ...extract, '--quiet', '--log-file', 'log');
  const seconds = (performance.now() - arrived) / 1000;
  t.is(code, 0, stderr);
  t.true(seconds > 9 && seconds < 15, `${seconds}`);
  const log = await readFile(join(folder, 'log'), 'utf8');
  for (const [server, says] of [
    [refusing, 'it answered 403: no \\*\\*\\*; check its address in "notify"'],
    [hanging, 'it did not answer within 10 s'],
    [dripping, 'it did not answer within 10 s'],
    [leading, 'it leads to another address \\(302\\), which is not followed; .*'],
    [untrusted, 'its certificate was not accepted \\(\\w+\\); let NODE_EXTRA_CA_CERTS .*'],
  ] as const) {
    const host = new URL(server.url).host;
    t.regex(
      stderr,
      new RegExp(`^warning: slack at ${host} was not told of the run: ${says}$`, 'm'),
    );
    t.true(log.includes(`slack at ${host} was not told of the run`));
  }
  t.is(stderr.match(/^warning/gm)?.length, 5);
  t.regex(stdout, /^2 done; /, '--quiet prints, as somebody has to know');
  t.notRegex(stdout + stderr + log, /hunter7/);
  t.deepEqual(other.told, []);
});

test('a run that could not begin is told too, and one whose settings are wrong', async (t) => {
  const { folder, runWith } = await world(t);
  const slack = await hookServer(t);
  const [failure, always, fine] = await Promise.all([hookServer(t), hookServer(t), hookServer(t)]);
  const notify = [
    { slack: slack.url },
    { webhook: failure.url, secretFrom: 'HOOK_SECRET' },
    { webhook: always.url, secretFrom: 'HOOK_SECRET', on: 'always' },
    { webhook: fine.url, secretFrom: 'HOOK_SECRET', on: ['restated', 'provisional-final'] },
  ];
  await writeFile(join(folder, 'pipeline.config.yaml'), stringify({ notify }));
  const env = { HOOK_SECRET: secret };
  const down = await runWith({ ...env, VAULT_ADDR: 'http://127.0.0.1:1' }, ...extract);
  t.is(down.code, 1);
  const wrong = await runWith({ ...env, VAULT_ROLE_ID: '' }, ...extract);
  t.is(wrong.code, 2);
  const records = failure.told.map(({ body }) => runRecord.parse(JSON.parse(body)));
  t.deepEqual(
    records.map(({ outcome, exitCode }) => [outcome, exitCode]),
    [
      ['failed', 1],
      ['failed', 2],
    ],
  );
  t.regex(records[0]?.failures[0]?.message ?? '', /Vault/);
  t.regex(records[1]?.failures[0]?.message ?? '', /VAULT_ROLE_ID/);
  t.is(always.told.length, 2);
  t.deepEqual(fine.told, []);
  // Whatever else is wrong, and an unsigned webhook is no webhook.
  const before = slack.told.length;
  for (const words of [
    ['--tolerance', 'abc'],
    ['--month', '2026-13'],
    ['--metrics', '.'],
  ]) {
    const { code } = await runWith(env, ...extract, ...words);
    t.is(code, 2);
  }
  t.is((await runWith({ HOOK_SECRET: '' }, ...extract)).code, 2);
  t.is(slack.told.length - before, 4);
  t.deepEqual([always.told.length, failure.told.length], [5, 5]);
  t.regex(
    slack.told[0]?.body ?? '',
    /^\{"text":"AWS billing run failed: 2026-10\\n.*failed: .*Vault/,
  );
});

test('Ctrl-C while a hook is told cuts that short; the run was done, and its exit code says so', async (t) => {
  const { folder, cloud } = await world(t);
  let interrupt: () => void = () => undefined;
  const hanging = await hookServer(t, () => {
    interrupt();
  });
  const notify = [{ slack: hanging.url, on: 'always' }];
  await writeFile(join(folder, 'pipeline.config.yaml'), stringify({ notify }));
  const { code, stderr } = await pipeline([...extract, '--summary', 'runs.jsonl'], {
    cwd: folder,
    env: cloud.environment,
    running: (child) => {
      interrupt = () => child.kill('SIGINT');
    },
  });
  t.is(code, 0, stderr);
  t.regex(stderr, /was not told of the run: it did not answer within 3 s/);
  const record: unknown = JSON.parse(await readFile(join(folder, 'runs.jsonl'), 'utf8'));
  t.like(runRecord.parse(record), { outcome: 'ok', exitCode: 0 });
});
