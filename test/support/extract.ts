import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { ExtractTask } from '../../extract/extract.js';
import { extract } from '../../extract/extract.js';
import type { OrganizationSource } from '../../extract/organization-source.js';
import { openOrganization } from '../../extract/organization-source.js';
import type { OrganizationAccess } from '../../extract/organizations.js';
import { parseOrganizations } from '../../extract/organizations.js';
import type { Cloud, CloudOptions } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import type { CloudData } from '../../fixtures/demo/data.js';
import { demoData } from '../../fixtures/demo/data.js';
import type { RunLog } from '../../pipeline/shared/log.js';
import { parseAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import type { Outcome } from '../../pipeline/shared/outcome.js';
import { plainScope } from '../../pipeline/shared/scope.js';
import { localStaging } from '../../pipeline/staging/local.js';
import type { ExtractionManifest } from '../../pipeline/staging/manifest.js';
import { readExtractionManifest } from '../../pipeline/staging/manifest.js';
import type { Staging } from '../../pipeline/staging/staging.js';
import { readAll } from '../../pipeline/staging/staging.js';

export const MONTH = parseMonth('2026-10');
export const OTHER_MONTH = parseMonth('2026-09');

/** A log that tests can read: every line that was written. */
export function memoryLog(): { log: RunLog; lines: string[] } {
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
  return { log, lines };
}

/** What a run of the extract stage needs, against a stand-in cloud of its own. */
export interface Bench {
  cloud: Cloud;
  data: CloudData;
  staging: Staging;
  log: RunLog;
  lines: string[];
  access: (organization: string) => OrganizationAccess;
  open: (organization?: string, timeoutMs?: number) => OrganizationSource;
  /**
   * Runs the stage with a source of its own; the default is the organization `oab` in October.
   * `requests`: the answers that it paid for.
   */
  run: (changes?: Partial<ExtractTask>) => Promise<Outcome & { requests: number }>;
  manifest: (extraction: string, changes?: Partial<ExtractTask>) => Promise<ExtractionManifest>;
  /** Requests of an operation that arrived so far. */
  requests: (operation: string) => Cloud['requests'];
}

/** Sets environment variables for the rest of the (serial) test; `undefined` takes one away. */
export function setEnvironment(
  t: ExecutionContext,
  values: Readonly<Record<string, string | undefined>>,
): void {
  const before = Object.fromEntries(Object.keys(values).map((name) => [name, process.env[name]]));
  assignEnvironment(values);
  t.teardown(() => {
    assignEnvironment(before);
  });
}

function assignEnvironment(values: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) Reflect.deleteProperty(process.env, name);
    else process.env[name] = value;
  }
}

/** The bench's data: small pages, so that a query has many. */
export const data = demoData({
  months: [OTHER_MONTH, MONTH],
  organizations: [
    { name: 'oab', accounts: 131 },
    { name: 'spp_pm', accounts: 23 },
  ],
});

/**
 * Starts a cloud and points the SDK at it by environment variables, so that tests of one file run one
 * after the other. When the test ends, nothing that was logged or staged may hold a secret.
 */
export async function bench(
  t: ExecutionContext,
  options: Partial<CloudOptions> = {},
): Promise<Bench> {
  const cloud = await startCloud({ data, groupsPerPage: 60, ...options });
  t.teardown(() => cloud.close());
  setEnvironment(t, {
    AWS_ENDPOINT_URL: cloud.url,
    AWS_MAX_ATTEMPTS: '2',
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  });
  const folder = await mkdtemp(join(tmpdir(), 'pipeline-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const staging = localStaging(folder);
  const { log, lines } = memoryLog();
  const used = options.data ?? data;

  const access = (name: string): OrganizationAccess => {
    const entry = parseOrganizations(used.secret, 'the secret').find((one) => one.name === name);
    if (entry === undefined || !('access' in entry)) throw new Error(`no access to ${name}`);
    return entry.access;
  };
  const open = (organization = 'oab', timeoutMs?: number): OrganizationSource => {
    const source = openOrganization(access(organization), { log, timeoutMs });
    t.teardown(() => {
      source.close();
    });
    return source;
  };
  const slice = { month: MONTH, organization: 'oab' };
  t.teardown(async () => {
    const staged = await everything(staging);
    const leaked = secretsOf(used).find((secret) => `${lines.join('')}${staged}`.includes(secret));
    if (leaked !== undefined) throw new Error(`a secret was logged or staged: ${leaked}`);
  });
  return {
    cloud,
    data: used,
    staging,
    log,
    lines,
    access,
    open,
    async run(changes) {
      let requests = 0;
      const outcome = await extract({
        staging,
        slice,
        source: () => open(changes?.slice?.organization),
        scope: plainScope,
        awsTotal: true,
        tolerance: parseAmount('0.01').units,
        provisionalDays: 10,
        force: false,
        signal: new AbortController().signal,
        log,
        onProgress: () => undefined,
        onPaid: () => {
          requests++;
        },
        now: () => new Date(),
        ...changes,
      });
      return { ...outcome, requests };
    },
    async manifest(extraction, changes) {
      const area = changes?.staging ?? staging;
      const found = await readExtractionManifest(area, changes?.slice ?? slice, extraction);
      if (found === undefined) throw new Error(`${extraction} has no manifest`);
      return found.manifest;
    },
    requests: (operation) => cloud.requests.filter((request) => request.operation === operation),
  };
}

/** Long-term secrets, and how every session's begin: the stand-in's access keys and tokens of sessions. */
export function secretsOf({ organizations, operator }: CloudData): string[] {
  return [
    ...organizations.map((organization) => organization.secretAccessKey),
    operator.secretAccessKey,
    'ASIA',
    'hvs.',
  ];
}

/** Every staged file's text. */
export async function everything(staging: Staging): Promise<string> {
  let text = '';
  for await (const { key } of staging.list('')) text += await textOf(staging, key);
  return text;
}

export async function textOf(staging: Staging, key: string): Promise<string> {
  const content = await staging.read(key);
  if (content === undefined) throw new Error(`no ${key}`);
  return Buffer.from(await readAll(content)).toString('utf8');
}

export async function keysOf(staging: Staging, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of staging.list(prefix)) keys.push(key);
  return keys;
}

/** The staging area, with a step before each write; what the step throws fails the write. */
export function beforeWrites(
  staging: Staging,
  step: (key: string) => void | Promise<void>,
): Staging {
  return {
    ...staging,
    async write(key, content, options) {
      await step(key);
      return staging.write(key, content, options);
    },
  };
}
