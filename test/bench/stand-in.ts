import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { AwsContext } from '../../fixtures/cloud/aws.js';
import { readAwsCall } from '../../fixtures/cloud/aws.js';
import { authenticate, jsonDialect } from '../../fixtures/cloud/identity.js';
import { vaultEnvironment, vaultSettings } from '../../fixtures/cloud/options.js';
import type { HttpAnswer, HttpRequest } from '../../fixtures/cloud/server.js';
import { listen, readJson, readTarget } from '../../fixtures/cloud/server.js';
import type { VaultTokens } from '../../fixtures/cloud/vault.js';
import { readVaultCall } from '../../fixtures/cloud/vault.js';
import { demoData } from '../../fixtures/demo/data.js';
import type { Operation } from '../../pipeline/staging/layout.js';
import { extractionPrefix, pageFile } from '../../pipeline/staging/layout.js';
import { bareEnvironment } from '../support/cli.js';
import { positionOf } from './generate.js';
import { script } from './measure.js';
import { extraction, month, organizationNames } from './month.js';

/**
 * The stand-in cloud, answering ListAccounts and GetCostAndUsage with the pages of a generated month as
 * they lie staged, so that it costs next to nothing beside what is measured. Identity, signatures and
 * Vault are those of fixtures/cloud.
 * @param latencyMs how long every answer takes, Vault's too.
 */
export async function startStandIn(
  staging: string,
  latencyMs: number,
  organizations: readonly string[] = organizationNames,
): Promise<{ environment: Record<string, string>; close: () => Promise<void> }> {
  const data = demoData({
    seed: 'bench',
    months: [month],
    organizations: organizations.map((name) => ({ name, accounts: 1 })),
  });
  const vault = vaultSettings({ data });
  const vaultTokens: VaultTokens = new Map();
  const context: AwsContext = {
    data,
    sessions: new Map(),
    sessionSeconds: undefined,
    accountsPerPage: 20,
    groupsPerPage: 250,
    globalRegion: 'us-east-1',
    invoicesPerPage: 100,
    documents: { url: '', addresses: new Map() },
  };

  const answer = async (request: HttpRequest): Promise<HttpAnswer> => {
    if (request.path.startsWith('/v1/')) return readVaultCall(vault, vaultTokens, request).answer();
    const target = readTarget(request);
    if (target === undefined) return readAwsCall(context, request).answer();
    const service = target.operation === 'ListAccounts' ? 'organizations' : 'ce';
    const scope = { service, region: 'us-east-1', dialect: jsonDialect };
    const { organization } = authenticate(request, scope, data, context.sessions);
    const file = fileOf(target.operation, readJson(request) as Question);
    const folder = extractionPrefix({ month, organization: organization?.name ?? '' }, extraction);
    const text = await readFile(join(staging, folder, file), 'utf8');
    return {
      status: 200,
      headers: {
        'content-type': 'application/x-amz-json-1.1',
        'x-amzn-requestid': crypto.randomUUID(),
      },
      body: service === 'organizations' ? asSent(text) : text,
    };
  };
  const server = await listen(async (request) => {
    const [answered] = await Promise.all([answer(request), delay(latencyMs)]);
    return answered;
  });
  return {
    environment: { ...vaultEnvironment(vault, server.url), AWS_ENDPOINT_URL: server.url },
    close: () => server.close(),
  };
}

interface Question {
  GroupBy?: unknown[];
  NextToken?: string;
  NextPageToken?: string;
}

function fileOf(operation: string, { GroupBy, NextToken, NextPageToken }: Question): string {
  const asked: Operation =
    operation === 'ListAccounts' ? 'accounts' : GroupBy === undefined ? 'total' : 'cost-and-usage';
  return pageFile(asked, positionOf(NextToken ?? NextPageToken));
}

/** On the wire a timestamp is a number of seconds. */
function asSent(text: string): string {
  return JSON.stringify(JSON.parse(text), (key, value: unknown) =>
    key === 'JoinedTimestamp' ? Date.parse(String(value)) / 1000 : value,
  );
}

/** Does `work` with the stand-in in a process of its own, which ends with this one, whatever happens. */
export async function withStandIn<T>(
  staging: string,
  latencyMs: number,
  work: (environment: Record<string, string>) => Promise<T>,
  organizations: readonly string[] = organizationNames,
): Promise<T> {
  const { program, args } = script('run-stand-in', [staging, String(latencyMs), ...organizations]);
  const child = spawn(program, args, {
    env: bareEnvironment(),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  try {
    const [line] = (await Promise.race([
      once(createInterface(child.stdout), 'line'),
      exited.then(([code]) => Promise.reject(new Error(`the stand-in ended with ${code}`))),
    ])) as [string];
    return await work(JSON.parse(line) as Record<string, string>);
  } finally {
    child.stdin.end();
    child.kill();
    await exited;
  }
}
