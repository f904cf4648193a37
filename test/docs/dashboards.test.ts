import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { root } from '../support/cli.js';
import { openFor, temporaryStaging } from '../support/load-fixture.js';
import { loadMonths } from '../support/loaded-months.js';
import type { TestServer } from '../support/mariadb.js';
import { openServer } from '../support/mariadb.js';

/** docs/dashboards.md and docs/grafana, tried on a real server by the user that they make. */

const page = await readFile(join(root, 'docs/dashboards.md'), 'utf8');
const blocks = [...page.matchAll(/^```sql\n([^]*?)^```$/gm)].map(([, block = '']) => block);

interface Panel {
  title: string;
  type: string;
  datasource: { uid: string };
  gridPos: { x: number; y: number; w: number; h: number };
  targets: { rawSql: string; format: string; datasource: { uid: string } }[];
  fieldConfig: { overrides: { matcher: { id: string; options: string } }[] };
}
interface Dashboard {
  templating: { list: { name: string; query: string; multi: boolean }[] };
  panels: Panel[];
}

async function grafana(file: string): Promise<string> {
  return readFile(join(root, 'docs/grafana', file), 'utf8');
}

let server: TestServer;
/** The database, and the address of the user who may only read. */
let url: string;
let reader: string;
test.before(async () => {
  server = await openServer();
  url = await server.createDatabase();
});
test.after.always(() => server.stop());

test.serial('the GRANT makes a user who may read every view, and write nothing', async (t) => {
  await loadMonths(await temporaryStaging(t), await openFor(t, url));
  const address = new URL(url);
  const name = address.pathname.slice(1);
  const user = `dashboards_${name.slice(-12)}`;
  const statements = blocks[1]!
    .replaceAll("'dashboards'", `'${user}'`)
    .replaceAll(' billing.', ` ${name}.`)
    .split(';\n')
    .filter((statement) => statement !== '');
  t.is(statements.length, 2);
  await server.query(url, ...statements);
  address.username = user;
  address.password = 'a long password';
  reader = address.href;

  const views = [...page.matchAll(/^\| `(\w+)` +\| [^|]+\| ([^|]+?) +\|$/gm)];
  t.is(views.length, 5);
  for (const [, view = '', columns = ''] of views) {
    const rows = await server.query(reader, `SELECT * FROM ${view}`);
    t.is(Object.keys(rows[0]!).join(', '), columns, view);
    await t.throwsAsync(server.query(reader, `DROP VIEW ${view}`), { message: /denied/ });
  }
  for (const statement of ['DELETE FROM customers', "UPDATE consumption SET Tag = 'x'"])
    await t.throwsAsync(server.query(reader, statement), { message: /denied/ });
  t.true((await server.query(reader, blocks[0]!)).length === 10);
});

test.serial("every query of Grafana's dashboard runs as that user", async (t) => {
  await server.query(url, "UPDATE pipeline_loads SET Difference = '0.001'");
  const dashboard = JSON.parse(await grafana('dashboards/billing.json')) as Dashboard;
  const uids = new Set<string>();
  const values: Record<string, string> = {};
  /** As Grafana fills in: a variable as quoted texts, the range of time as its data source for MySQL does. */
  const filled = (sql: string): string => {
    const text = sql
      .replaceAll(/\$\{(\w+):sqlstring\}/g, (_, name: string) => values[name] ?? `unknown ${name}`)
      .replaceAll(
        /\$__timeFilter\((\w+)\)/g,
        `$1 BETWEEN FROM_UNIXTIME(${Date.UTC(2025, 9) / 1000}) AND FROM_UNIXTIME(${Date.UTC(2026, 10) / 1000})`,
      );
    t.notRegex(text, /\$|unknown/, sql);
    return text;
  };
  const quoted = (text: unknown): string => `'${String(text).replaceAll("'", "''")}'`;
  for (const { name, query, multi } of dashboard.templating.list) {
    const rows = await server.query(reader, filled(query));
    const found = rows.map((row) => quoted(row['__value'] ?? Object.values(row)[0]));
    t.true(found.length > 0, name);
    values[name] = multi ? found.join(',') : found[0]!;
  }
  t.is(values['month'], "'2026-10-28'");
  t.is(values['organization'], "'ends','gap','internal','oab'");
  t.is(values['currency'], "'USD'");

  for (const panel of dashboard.panels) {
    uids.add(panel.datasource.uid);
    for (const target of panel.targets) {
      uids.add(target.datasource.uid);
      const rows = await server.query(reader, filled(target.rawSql));
      t.true(rows.length > 0, panel.title);
      const columns = Object.keys(rows[0]!);
      if (target.format === 'time_series') t.deepEqual(columns, ['time', 'metric', 'value']);
      for (const { matcher } of panel.fieldConfig.overrides)
        t.true(columns.includes(matcher.options), `${panel.title}: ${matcher.options}`);
      if (panel.type === 'stat') t.not(Object.values(rows[0]!)[0], null, panel.title);
    }
    const { x, w } = panel.gridPos;
    t.true(x + w <= 24, panel.title);
  }
  t.is(dashboard.panels.length, 9);

  const sources = parse(await grafana('provisioning/datasources/billing.yaml')) as {
    datasources: { uid: string; type: string; user: string }[];
  };
  t.deepEqual([...uids], [sources.datasources[0]!.uid]);
  t.like(sources.datasources[0], { type: 'mysql', user: 'dashboards' });
  const providers = parse(await grafana('provisioning/dashboards/billing.yaml')) as {
    providers: { options: { path: string } }[];
  };
  t.true(page.includes(`\`${providers.providers[0]!.options.path}/\``));
});
