import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { localStaging } from '../../pipeline/staging/local.js';
import { survey } from '../../pipeline/staging/extractions.js';
import { readExtractionManifest } from '../../pipeline/staging/manifest.js';
import { mustBeEqual } from './compare.js';
import { generateMonth } from './generate.js';
import type { Measured, Rounds } from './measure.js';
import { alternate, measure, pipeline, script } from './measure.js';
import type { MonthSize } from './month.js';
import { month, organizationNames } from './month.js';
import { withStandIn } from './stand-in.js';
import type { Row } from './table.js';
import { describeFigures } from './table.js';

export interface ExtractPlan {
  size: MonthSize;
  /** Pages of cost of each organization. */
  pages: number;
  latencyMs: number;
}

/** 40 pages of 250 groups, as many as the stand-in of the demo gives. */
export const fortyPages: ExtractPlan = {
  size: { name: '40 pages', accounts: 100, services: 100 },
  pages: 40,
  latencyMs: 100,
};

/** Four organizations' pages, each answer taking its time, beside the bare chain of one of them. */
export async function benchExtract(
  { size, pages, latencyMs }: ExtractPlan,
  rounds: Rounds,
  home: string,
): Promise<Row[]> {
  const source = join(home, 'forty-pages');
  const groupsPerPage = (size.accounts * size.services) / pages;
  await generateMonth(localStaging(source), size, { groupsPerPage });
  const figures = await withStandIn(source, latencyMs, (env) => {
    const bare = async (mode: string, organizations: readonly string[]): Promise<Measured> => {
      const measured = await measure(script('peer-fetch', [mode, ...organizations], { env }));
      const groups = organizations.length * size.accounts * size.services;
      mustBeEqual('groups fetched', String(groups), measured.stdout);
      return measured;
    };
    return alternate(rounds, {
      ours: () => runExtract(home, env, source),
      chain: () => bare('chain', organizationNames.slice(0, 1)),
      script: () => bare('script', organizationNames),
    });
  });
  const { ours, chain, script: inTurn } = figures;
  const work = `four organizations, ${pages} pages each, ${latencyMs} ms an answer`;
  const same = { stage: 'extract', ours: describeFigures(ours) };
  return [
    {
      ...same,
      work,
      beside: "one organization's bare chain: Vault login and secret, role, pages",
      bound: 'most',
      target: 1.1,
      ratio: ours.seconds / chain.seconds,
      theirs: describeFigures(chain),
    },
    {
      ...same,
      work: "the replaced script's order of work, one after the other",
      beside: 'the same four organizations by us',
      bound: 'least',
      target: 3.5,
      ratio: inTurn.seconds / ours.seconds,
      ours: describeFigures(inTurn),
      theirs: describeFigures(ours),
    },
  ];
}

/** Fetches into a fresh staging area, which is removed again, and compares it with the generated month. */
async function runExtract(
  home: string,
  env: Readonly<Record<string, string>>,
  source: string,
): Promise<Measured> {
  const staging = await mkdtemp(join(home, 'extracted-'));
  try {
    const args = ['run', '--stage', 'extract', '--month', month, '--staging', staging];
    const measured = await measure(pipeline(args, { cwd: staging, env }));
    mustBeEqual('extract', await extractedIn(staging), await extractedIn(source));
    return measured;
  } finally {
    await rm(staging, { recursive: true });
  }
}

/** Groups and exact sums of each organization's newest extraction. */
async function extractedIn(folder: string): Promise<unknown> {
  const staging = localStaging(folder);
  return Promise.all(
    organizationNames.map(async (organization) => {
      const slice = { month, organization };
      const { current = '' } = await survey(staging, slice);
      const found = await readExtractionManifest(staging, slice, current);
      return [organization, found?.manifest.groups, found?.manifest.totals];
    }),
  );
}
