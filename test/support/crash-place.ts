import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { S3Server } from '../../fixtures/cloud/s3.js';
import type { TestServer } from './mariadb.js';
import { querySqlite } from './sqlite.js';

/** A staging area, seen from outside the product. */
export interface StagedPlace {
  /** What `--staging` is given. */
  location: string;
  /** Every file by its key, temporary ones too. */
  files(): Promise<Map<string, Buffer>>;
  /** Uploads in parts that were begun and neither completed nor aborted. */
  uploads(): number;
}

/** The folder `staging` of a folder. */
export function folderPlace(parent: string): StagedPlace {
  const location = join(parent, 'staging');
  return {
    location,
    async files() {
      const found = await readdir(location, { recursive: true, withFileTypes: true });
      const files = new Map<string, Buffer>();
      for (const entry of found.filter((candidate) => candidate.isFile())) {
        const path = join(entry.parentPath, entry.name);
        files.set(relative(location, path).split(sep).join('/'), await readFile(path));
      }
      return sorted(files);
    },
    uploads: () => 0,
  };
}

/** A new bucket of the stand-in, listed in short pages. */
export function bucketPlace(s3: S3Server, name: string): StagedPlace {
  const bucket = s3.createBucket(name, { pageSize: 3 });
  const prefix = 'billing/staging/';
  return {
    location: `s3://${name}/${prefix}`,
    async files() {
      const files = new Map<string, Buffer>();
      for (const key of bucket.objects.keys()) {
        const bytes = await s3.bytes(name, key);
        if (bytes !== undefined) files.set(key.replace(prefix, ''), bytes);
      }
      return sorted(files);
    },
    uploads: () => bucket.uploads.size,
  };
}

function sorted(files: Map<string, Buffer>): Map<string, Buffer> {
  return new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
}

type Rows = Record<string, unknown>[];

/** A database, seen from outside the product. */
export interface DatabasePlace {
  /** What `PIPELINE_DATABASE` is given. */
  address: string;
  query(sql: string): Promise<Rows>;
}

export function sqlitePlace(folder: string): DatabasePlace {
  const file = join(folder, 'billing.sqlite');
  return {
    address: `sqlite:${file}`,
    query: (sql) => Promise.resolve(querySqlite(file, sql)),
  };
}

export async function mariadbPlace(server: TestServer): Promise<DatabasePlace> {
  const address = await server.createDatabase();
  return { address, query: (sql) => server.query(address, sql) };
}

/** What is the same whenever and in however many runs a month was made: exports and rows. */
export interface Result {
  exports: Map<string, Buffer>;
  tables: Record<'customers' | 'consumption' | 'loads', Rows>;
}

/** Reads the finished month from both places. */
export async function resultOf(staged: StagedPlace, database: DatabasePlace): Promise<Result> {
  const files = [...(await staged.files())].filter(([key]) => /^(parquet|csv)\//.test(key));
  const order = 'ORDER BY Organization, BillingPeriod, Line';
  return {
    exports: new Map(files),
    tables: {
      customers: await database.query(`SELECT * FROM customers ${order}`),
      consumption: await database.query(`SELECT * FROM consumption ${order}`),
      loads: await database.query(
        'SELECT Month, Organization, CustomerRows, ConsumptionRows, Amount, Currency, Totals, Source FROM pipeline_loads ORDER BY Month, Organization, Id',
      ),
    },
  };
}
