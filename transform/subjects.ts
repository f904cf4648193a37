import type { Dimension, Query } from '../pipeline/staging/manifest.js';
import { scopeOf } from '../pipeline/staging/manifest.js';
import type { Group, StagedExtraction } from './pages.js';
import { regionOf } from './region.js';
import type { Place } from './rows.js';
import { checkLength, columnOf, rowFault } from './rows.js';
import type { UsageTypes } from './usage-types.js';

/** What a row's cost is for: a service, or a usage type of a service. Many rows share one. */
export interface Subject {
  /** 0, 1, 2 … in order of first appearance. */
  readonly index: number;
  readonly service: string;
  /** `N/A` in the detail by service. */
  readonly category: string;
  readonly region: string;
}

/** How the groups of one question become rows. */
export interface Reading {
  readonly query: Query;
  /** The row's subject; `undefined` where other questions tell the rows of this group. */
  subjectOf: (
    keyOf: (dimension: Dimension, group: Group, place: Place) => string,
    group: Group,
    place: Place,
  ) => Subject | undefined;
}

const columns = {
  service: columnOf('consumption', 'Service'),
  category: columnOf('consumption', 'Category'),
};

/** The question of the detail by service, as older manifests do not name it. */
const costQuery: Query = { name: 'cost-and-usage', groupBy: ['SERVICE', 'LINKED_ACCOUNT'] };

/** Each subject once, however many rows have it. */
function createSubjects(fallback: string) {
  // Service → usage type: one text of both could stand for two pairs.
  const known = new Map<string, Map<string | undefined, Subject>>();
  let count = 0;
  return (service: string, category: string | undefined, place: Place): Subject => {
    const ofService = known.get(service) ?? new Map<string | undefined, Subject>();
    let subject = ofService.get(category);
    if (subject === undefined) {
      checkLength(columns.service, service, place);
      checkLength(columns.category, category ?? '', place);
      subject = {
        index: count++,
        service,
        category: category ?? 'N/A',
        region: category === undefined ? 'N/A' : regionOf(category, service, fallback),
      };
      known.set(service, ofService.set(category, subject));
    }
    return subject;
  };
}

/** The only question of the detail by service. */
export function serviceReadings(): Reading[] {
  const subject = createSubjects('N/A');
  return [
    {
      query: costQuery,
      subjectOf: (keyOf, group, place) => subject(keyOf('SERVICE', group, place), undefined, place),
    },
  ];
}

/**
 * The questions whose groups are the rows of the detail by usage type: by usage type and account, as far as
 * the usage type belongs to one service; and those about shared usage types.
 */
export function usageTypeReadings(
  { manifest }: StagedExtraction,
  usageTypes: UsageTypes,
): Reading[] {
  const subject = createSubjects(scopeOf(manifest).region ?? 'N/A');
  return (manifest.queries ?? [])
    .filter(({ name }) => name === 'usage-type-account' || name.startsWith('usage-type-shared-'))
    .map((query): Reading => {
      const only = (dimension: Dimension): string | undefined => {
        const values = query.filter?.[dimension] ?? [];
        return query.groupBy.includes(dimension) ? undefined : values[0];
      };
      const [service, usageType] = [only('SERVICE'), only('USAGE_TYPE')];
      return {
        query,
        subjectOf: (keyOf, group, place) => {
          const category = usageType ?? keyOf('USAGE_TYPE', group, place);
          if (query.name !== 'usage-type-account')
            return subject(service ?? keyOf('SERVICE', group, place), category, place);
          const [first, ...others] = usageTypes.servicesOf(category);
          if (first === undefined)
            throw rowFault(place, `has usage type ${JSON.stringify(category)}, of no service`);
          return others.length === 0 ? subject(first, category, place) : undefined;
        },
      };
    });
}
