import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Cloud } from '../../fixtures/cloud/cloud.js';
import { startCloud } from '../../fixtures/cloud/cloud.js';
import { demoData } from '../../fixtures/demo/data.js';
import {
  expectedConsumption,
  expectedCustomers,
  expectedTotal,
} from '../../fixtures/demo/truth.js';
import { formatAmount, parseAmount } from '../../pipeline/shared/money.js';
import { parseMonth } from '../../pipeline/shared/month.js';
import { pipeline, temporaryFolder } from '../support/cli.js';
import { csvRows, literal, query } from '../support/duckdb.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';
import { querySqlite } from '../support/sqlite.js';

const month = parseMonth('2026-10');
const organizations = ['internal', 'oab', 'spp_ecm', 'spp_pm'];
const data = demoData({ months: [month] });
const flags = ['--month', month];

let cloud: Cloud;
let server: TestServer;
test.before(async () => {
  [cloud, server] = await Promise.all([startCloud({ data, groupsPerPage: 100 }), openServer()]);
});
test.after.always(async () => {
  await Promise.all([cloud.close(), server.stop()]);
});

type Row = Record<string, unknown>;

const consumptionColumns = [
  'Reference',
  'Service',
  'Amount',
  'Organization',
  'Currency',
  'Estimated',
  'BillingPeriod',
  'Tag',
];
const customerColumns = [
  'Reference',
  'TenantName',
  'Email',
  'Status',
  'Created',
  'Organization',
  'BillingPeriod',
  'Tag',
];

/** One line a row, sorted: amounts by value, whatever zeros a reader prints. */
function lines(rows: readonly Row[], columns: readonly string[]): string[] {
  const text = (column: string, value: unknown): string => {
    if (column === 'Amount') return formatAmount(parseAmount(String(value)).units);
    if (column === 'Estimated') return String(value === true || value === 1 || value === 'true');
    return String(value);
  };
  return rows
    .map((row) => columns.map((column) => text(column, row[column])).join('\u241f'))
    .sort();
}

function expected(): { consumption: string[]; customers: string[] } {
  const stamp = (organization: string): Row => ({
    Organization: organization,
    BillingPeriod: '2026-10-28',
    Tag: 'aws',
  });
  const consumption = organizations.flatMap((organization) =>
    expectedConsumption(data, organization, month).map((row) => ({
      ...row,
      ...stamp(organization),
      Amount: formatAmount(row.Amount),
    })),
  );
  const customers = organizations.flatMap((organization) =>
    expectedCustomers(data, organization, month).map((row) => ({ ...row, ...stamp(organization) })),
  );
  return {
    consumption: lines(consumption, consumptionColumns),
    customers: lines(customers, customerColumns),
  };
}

const created = "strftime(Created, '%Y-%m-%dT%H:%M:%S.%gZ') AS Created";
const select = {
  consumption:
    'SELECT * REPLACE (CAST(Amount AS VARCHAR) AS Amount, CAST(BillingPeriod AS VARCHAR) AS BillingPeriod)',
  customers: `SELECT * REPLACE (CAST(BillingPeriod AS VARCHAR) AS BillingPeriod, ${created})`,
};

test.serial(
  'a run gives the same customers and consumption everywhere, to the last digit',
  async (t) => {
    const folder = await temporaryFolder(t);
    const address = await server.createDatabase();
    const before = cloud.requests.length;
    const first = await pipeline(['run', ...flags, '--json'], {
      cwd: folder,
      env: { ...cloud.environment, PIPELINE_DATABASE: address },
    });
    t.is(first.code, 0, first.stderr);
    const second = await pipeline(
      ['run', ...flags, '--stage', 'load', '--database', 'sqlite:copy.sqlite'],
      { cwd: folder },
    );
    t.is(second.code, 0, second.stderr);
    const asked = cloud.requests.slice(before).map(({ operation }) => operation);
    const revoked = asked.indexOf('revoke-self');
    t.true(revoked > 0 && revoked < asked.lastIndexOf('GetCostAndUsage'), 'the token was kept');

    const truth = expected();
    t.true(truth.consumption.length > 2000);
    for (const table of ['consumption', 'customers'] as const) {
      const columns = table === 'consumption' ? consumptionColumns : customerColumns;
      const parquet = await query(
        `${select[table]} FROM ${literal(join(folder, `staging/parquet/${table}/*/*.parquet`))}`,
      );
      t.deepEqual(lines(parquet, columns), truth[table], `Parquet ${table}`);
      const csv = await query(
        `SELECT * FROM ${csvRows(join(folder, `staging/csv/${table}/*/*.csv`), `nullstr = '', force_not_null = ${table === 'customers' ? "['TenantName', 'Email']" : '[]'}`)}`,
      );
      t.deepEqual(lines(csv.map(undefuse), columns), truth[table], `CSV ${table}`);
      const mariadb = await server.query(
        address,
        `SELECT *${table === 'customers' ? ", DATE_FORMAT(Created, '%Y-%m-%dT%H:%i:%s.%f') AS c" : ''} FROM ${table}`,
      );
      t.deepEqual(lines(mariadb.map(isoCreated), columns), truth[table], `MariaDB ${table}`);
      const sqlite = querySqlite(join(folder, 'copy.sqlite'), `SELECT * FROM ${table}`);
      t.deepEqual(lines(sqlite, columns), truth[table], `SQLite ${table}`);
    }

    const total = organizations.reduce(
      (sum, organization) => sum + expectedTotal(data, organization, month),
      0n,
    );
    const [row] = await server.query(
      address,
      'SELECT CAST(SUM(Amount) AS CHAR) AS total FROM consumption',
    );
    t.is(parseAmount(String(row?.['total'])).units, total);
  },
);

/** Without the apostrophes that keep a spreadsheet from running a name. */
function undefuse(row: Row): Row {
  const plain = (value: unknown): unknown =>
    typeof value === 'string' ? value.replaceAll(/(?<=^|[;\t])'(?=[\s']*[=+\-@])/g, '') : value;
  return { ...row, TenantName: plain(row['TenantName']), Email: plain(row['Email']) };
}

function isoCreated(row: Row): Row {
  const text = row['c'];
  return typeof text === 'string' ? { ...row, Created: text.replace(/000$/, 'Z') } : row;
}

test.serial(
  'each stage runs alone from what is staged, and the second run asks AWS for nothing',
  async (t) => {
    const folder = await temporaryFolder(t);
    const env = { ...cloud.environment };
    const awsRequests = (): number =>
      cloud.requests.filter(({ service }) => service !== 'vault').length;

    t.is((await pipeline(['run', ...flags, '--stage', 'extract'], { cwd: folder, env })).code, 0);
    const asked = awsRequests();
    // Neither Vault nor AWS settings from here on: the later stages need none.
    t.is((await pipeline(['run', ...flags, '--stage', 'transform'], { cwd: folder })).code, 0);
    t.is((await pipeline(['run', ...flags, '--stage', 'load'], { cwd: folder })).code, 0);
    const parquet = join(folder, 'staging/parquet/consumption', `month=${month}`, 'oab.parquet');
    const bytes = await readFile(parquet);
    const rows = querySqlite(
      join(folder, 'billing.sqlite'),
      'SELECT * FROM consumption ORDER BY Organization, Line',
    );

    const again = await pipeline(['run', ...flags, '--json'], { cwd: folder, env });
    t.is(again.code, 0, again.stderr);
    const report = JSON.parse(again.stdout) as { requests: number; tasks: { state: string }[] };
    t.is(report.requests, 0);
    t.deepEqual(new Set(report.tasks.map(({ state }) => state)), new Set(['unchanged']));
    t.is(awsRequests(), asked, 'the second run asked AWS');

    await rm(join(folder, 'staging/parquet'), { recursive: true });
    t.is(
      (
        await pipeline(['run', ...flags, '--stage', 'transform', '--stage', 'load', '--force'], {
          cwd: folder,
        })
      ).code,
      0,
    );
    t.deepEqual(await readFile(parquet), bytes);
    t.deepEqual(
      querySqlite(
        join(folder, 'billing.sqlite'),
        'SELECT * FROM consumption ORDER BY Organization, Line',
      ),
      rows,
    );
    t.is(awsRequests(), asked);
  },
);
