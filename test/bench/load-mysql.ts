import { join } from 'node:path';
import { columnNames } from '../../load/schema.js';
import type { TestServer } from '../support/mariadb.js';
import {
  comparedLoads,
  createTables,
  hasProgram,
  startMysql,
  writeReadyFiles,
} from './databases.js';
import type { Measured, Rounds } from './measure.js';
import { alternate, measure, pipeline, script } from './measure.js';
import type { MonthSize } from './month.js';
import { month, rowsOf } from './month.js';
import type { Row } from './table.js';
import { describeFigures } from './table.js';

/** The load stage into MariaDB by either way, beside the server's own client and Knex. */
export async function benchLoadMysql(
  server: TestServer,
  staging: string,
  size: MonthSize,
  rounds: Rounds,
  home: string,
): Promise<Row[]> {
  const sides = await sidesOn(server, staging, rounds, home);
  return [
    ...(await besideClient(sides, rowsOf(size), 'MariaDB', 1.25)),
    ...(await besideBatchInsert(sides, rowsOf(size))),
  ];
}

/** The same into MySQL beside the client, on a server of its own, whose program `mysqld` names. */
export async function benchLoadNamed(
  mysqld: string,
  staging: string,
  size: MonthSize,
  rounds: Rounds,
  home: string,
): Promise<Row[]> {
  const server = await startMysql(mysqld);
  try {
    const sides = await sidesOn(server, staging, rounds, home);
    const [{ version } = {}] = await server.query(sides.peer, 'SELECT VERSION() AS version');
    const name = `MySQL ${String(version).replace(/-.*/, '')}`;
    return await besideClient(sides, rowsOf(size), name, 1.15);
  } finally {
    await server.stop();
  }
}

async function sidesOn(
  server: TestServer,
  staging: string,
  rounds: Rounds,
  home: string,
): Promise<Sides> {
  const files = await writeReadyFiles(staging, join(home, 'ready-mysql'), names, '\\N');
  const [ours, peer] = [await createTables(server), await createTables(server)];
  return { server, ours, peer, rounds, staging, files };
}

const names = columnNames('consumption');

interface Sides {
  server: TestServer;
  /** Addresses of two databases with the product's tables. */
  ours: string;
  peer: string;
  rounds: Rounds;
  staging: string;
  files: readonly string[];
}

async function besideClient(
  sides: Sides,
  rows: number,
  name: string,
  target: number,
): Promise<Row[]> {
  const { server, ours, peer, rounds, files } = sides;
  const same = {
    stage: 'load',
    work: `Parquet → ${name}, ${rows.toLocaleString('en-US')} rows, with all checks`,
    beside: "the `mariadb` client's `LOAD DATA LOCAL INFILE` of ready CSV",
    bound: 'most',
    target,
  } as const;
  if (!(await hasProgram('mariadb', 'mariadb-client')))
    return [{ ...same, ratio: undefined, ours: 'there is no mariadb client', theirs: '' }];
  const compared = comparedLoads(server, `${name} and the client`, rows);
  const figures = await alternate(rounds, {
    ours: () => compared(ours, () => loadOurs(sides)),
    client: () => compared(peer, () => loadByClient(peer, files)),
  });
  return [
    {
      ...same,
      ratio: figures.ours.seconds / figures.client.seconds,
      ours: describeFigures(figures.ours, rows),
      theirs: describeFigures(figures.client, rows),
    },
  ];
}

async function besideBatchInsert(sides: Sides, rows: number): Promise<Row[]> {
  const { server, ours, peer, rounds, files } = sides;
  await server.query(peer, 'SET GLOBAL local_infile = 0');
  const compared = comparedLoads(server, 'MariaDB and batchInsert', rows);
  const byKnex = script('peer-knex', files, { env: { PEER_DATABASE: peer } });
  const figures = await alternate(rounds, {
    ours: () => compared(ours, () => loadOurs(sides)),
    batchInsert: () =>
      compared(peer, async () => {
        const measured = await measure(byKnex);
        return { ...measured, seconds: Number(measured.stdout), cpu: undefined };
      }),
  });
  await server.query(peer, 'SET GLOBAL local_infile = 1');
  return [
    {
      stage: 'load',
      work: 'the same without `local_infile`',
      beside: 'Knex `batchInsert`, 1,000 rows a statement; reading its CSV is not counted',
      bound: 'most',
      target: 0.6,
      ratio: figures.ours.seconds / figures.batchInsert.seconds,
      ours: describeFigures(figures.ours, rows),
      theirs: describeFigures(figures.batchInsert, rows),
    },
  ];
}

function loadOurs({ ours, staging }: Sides): Promise<Measured> {
  const args = ['run', '--stage', 'load', '--force', '--month', month, '--staging', staging];
  return measure(pipeline(args, { cwd: staging, env: { PIPELINE_DATABASE: ours } }));
}

function loadByClient(address: string, files: readonly string[]): Promise<Measured> {
  const { hostname, port, username, password, pathname } = new URL(address);
  const statements = files.map(
    (file) => `LOAD DATA LOCAL INFILE '${file}' INTO TABLE consumption CHARACTER SET utf8mb4
      FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' LINES TERMINATED BY '\\n' IGNORE 1 LINES (${names.map((name) => `\`${name}\``).join(', ')});`,
  );
  return measure({
    program: 'mariadb',
    args: [
      '--no-defaults',
      `--host=${hostname}`,
      `--port=${port}`,
      `--user=${username}`,
      '--local-infile=1',
      '--default-character-set=utf8mb4',
      pathname.slice(1),
    ],
    env: { MYSQL_PWD: decodeURIComponent(password) },
    input: statements.join('\n'),
  });
}
