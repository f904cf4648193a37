import type { RegionPart } from '../pipeline/staging/layout.js';
import type { Dimension, Query } from '../pipeline/staging/manifest.js';
import { regionOf } from '../pipeline/staging/tables.js';
import type { KeyOf } from './columns.js';
import { keyReader } from './columns.js';
import type { StagedExtraction } from './staged-pages.js';
import { costPages } from './staged-pages.js';

/** What AWS says of the regions of an extraction's usage types. */
export interface Regions {
  /** The region of a usage type of a service; where the account decides it, a function of the account. */
  of(usageType: string, service: string): string | ((account: string) => string);
  /** Usage types with rows whose region is not known, with those that an account used them in; none: none is told. */
  readonly several: ReadonlyMap<string, ReadonlySet<string>>;
}

const NONE = 'N/A';

/** Usage type → service or account → regions. */
type RegionsBy = Map<string, Map<string, Set<string>>>;

/**
 * Reads the regions of the usage types. One that has several is told apart by the answers by service, then
 * by those by account: a row's region is the only one that both leave; of several, none is told.
 * @throws {DataError} when a page is missing, altered or wrong.
 */
export async function readRegions(
  extraction: StagedExtraction,
  signal: AbortSignal,
): Promise<Regions> {
  const all = new Map<string, Set<string>>();
  const by: Record<RegionPart, RegionsBy> = { service: new Map(), account: new Map() };
  const several = new Map<string, Set<string>>();
  for (const query of extraction.manifest.queries) {
    const part = /^usage-type-region(?:-(service|account)-\d+)?$/.exec(query.name);
    if (part === null) continue;
    const beside = part[1] as RegionPart | undefined;
    for await (const { where, content } of costPages(extraction, query.name, signal)) {
      const keyOf = keyReader(content, query.groupBy);
      const valueOf = (dimension: Dimension) => reader(query, dimension, keyOf);
      const [usageTypeOf, readRegion] = [valueOf('USAGE_TYPE'), valueOf('REGION')];
      const besideOf = beside && keyOf(beside === 'service' ? 'SERVICE' : 'LINKED_ACCOUNT');
      const groups = content.ResultsByTime.flatMap(({ Groups = [] }) => Groups);
      for (const [index, group] of groups.entries()) {
        const place = { where, row: index + 1 };
        const usageType = usageTypeOf(group, place);
        const region = regionOf(readRegion(group, place));
        if (beside === undefined || besideOf === undefined) {
          add(all, usageType, region);
          continue;
        }
        const ofType = by[beside].get(usageType) ?? new Map<string, Set<string>>();
        by[beside].set(usageType, ofType);
        add(ofType, besideOf(group, place), region);
      }
    }
  }
  return {
    several,
    of(usageType, service) {
      const regions = by.service.get(usageType)?.get(service) ?? all.get(usageType);
      if (regions === undefined) {
        several.set(usageType, new Set());
        return NONE;
      }
      const [only, ...others] = regions;
      if (only !== undefined && others.length === 0) return only;
      return (account) => {
        const here = by.account.get(usageType)?.get(account);
        const [one, ...more] = [...regions].filter((region) => here?.has(region) ?? true);
        if (one !== undefined && more.length === 0) return one;
        for (const region of [one, ...more])
          if (region !== undefined) add(several, usageType, region);
        return NONE;
      };
    },
  };
}

function add(of: Map<string, Set<string>>, key: string, value: string): void {
  of.set(key, (of.get(key) ?? new Set()).add(value));
}

/** Reads a dimension's value: a key of the group, or the only one by the question's filter. */
export function reader(
  { groupBy, filter }: Query,
  dimension: Dimension,
  keyOf: (dimension: Dimension) => KeyOf,
): KeyOf {
  const only = filter?.[dimension]?.[0];
  return groupBy.includes(dimension) || only === undefined ? keyOf(dimension) : () => only;
}
