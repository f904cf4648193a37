import type { Dimension, Query } from '../pipeline/staging/manifest.js';
import { costQuery } from '../pipeline/staging/manifest.js';
import type { KeyOf } from './costs.js';
import type { Group, StagedExtraction } from './pages.js';
import type { Regions } from './region.js';
import { reader } from './region.js';
import type { Place } from './rows.js';
import { checkLength, columnOf, rowFault } from './rows.js';
import type { Term, Terms } from './terms.js';
import { createTerms } from './terms.js';
import type { UsageTypes } from './usage-types.js';

/** What a row's cost is for: a service, or a usage type of a service. Many rows share one. */
export interface Subject {
  /** 0, 1, 2 … in order of first appearance. */
  readonly index: number;
  readonly service: Term;
  /** The usage type, and its region, which may be each account's own; `undefined` in the detail by service. */
  readonly usage:
    { readonly type: Term; readonly regionIn: (account: string, place: Place) => Term } | undefined;
}

/** How the groups of one question become rows. */
export interface Reading {
  readonly query: Query;
  /**
   * Reads the subjects of a page's groups, of which `keyOf` tells the dimensions; `undefined` for a group
   * whose rows other questions tell.
   */
  readonly subjects: (
    keyOf: (dimension: Dimension) => KeyOf,
  ) => (group: Group, place: Place) => Subject | undefined;
}

/** The questions that tell the rows of an extraction, and the texts that the rows repeat. */
export interface Readings {
  readonly list: readonly Reading[];
  readonly services: Terms;
  readonly usageTypes: Terms;
  readonly regions: Terms;
}

const columns = {
  service: columnOf('consumption', 'Service'),
  category: columnOf('consumption', 'Category'),
  region: columnOf('consumption', 'Region'),
};

function termsOf(column: (typeof columns)[keyof typeof columns]): Terms {
  return createTerms((text, place) => {
    checkLength(column, text, place);
  });
}

/** The only question of the detail by service. */
export function serviceReadings(): Readings {
  const services = termsOf(columns.service);
  const known: Subject[] = [];
  const subjectOf = (service: Term): Subject =>
    (known[service.index] ??= { index: service.index, service, usage: undefined });
  return {
    list: [
      {
        query: costQuery,
        subjects: (keyOf) => {
          const serviceOf = keyOf('SERVICE');
          return (group, place) => subjectOf(services.of(serviceOf(group, place), place));
        },
      },
    ],
    services,
    usageTypes: termsOf(columns.category),
    regions: termsOf(columns.region),
  };
}

/**
 * The questions whose groups are the rows of the detail by usage type: by usage type and account, as far as
 * the usage type belongs to one service; and those about shared usage types.
 */
export function usageTypeReadings(
  { manifest }: StagedExtraction,
  known: UsageTypes,
  where: Regions,
): Readings {
  const services = termsOf(columns.service);
  const usageTypes = termsOf(columns.category);
  const regions = termsOf(columns.region);
  // Service → usage type, by their indexes: a text of both could stand for two pairs.
  const subjects: Subject[][] = [];
  let count = 0;
  const subjectOf = (serviceName: string, usageType: string, place: Place): Subject => {
    const service = services.of(serviceName, place);
    const type = usageTypes.of(usageType, place);
    const ofService = (subjects[service.index] ??= []);
    let subject = ofService[type.index];
    if (subject === undefined) {
      subject = {
        index: count++,
        service,
        usage: { type, regionIn: regionReader(where.of(usageType, serviceName), place) },
      };
      ofService[type.index] = subject;
    }
    return subject;
  };

  const regionReader = (region: ReturnType<Regions['of']>, place: Place) => {
    if (typeof region === 'function')
      return (account: string, here: Place): Term => regions.of(region(account), here);
    const term = regions.of(region, place);
    return () => term;
  };

  const askedFor = new Set(
    (manifest.queries ?? []).flatMap(({ name, filter }) =>
      name.startsWith('usage-type-shared-') ? (filter?.USAGE_TYPE ?? []) : [],
    ),
  );
  const byAccount: Reading['subjects'] = (keyOf) => {
    const usageTypeOf = keyOf('USAGE_TYPE');
    return (group, place) => {
      const usageType = usageTypeOf(group, place);
      const [service, ...others] = known.servicesOf(usageType);
      if (service !== undefined && others.length === 0) return subjectOf(service, usageType, place);
      if (askedFor.has(usageType)) return undefined;
      throw rowFault(place, `has usage type ${JSON.stringify(usageType)}, of no one service`);
    };
  };
  // Of the two dimensions one groups, and the other has a single value by the question's filter.
  const shared = (query: Query): Reading['subjects'] => {
    return (keyOf) => {
      const serviceOf = reader(query, 'SERVICE', keyOf);
      const usageTypeOf = reader(query, 'USAGE_TYPE', keyOf);
      return (group, place) => subjectOf(serviceOf(group, place), usageTypeOf(group, place), place);
    };
  };
  const list = (manifest.queries ?? []).flatMap((query): Reading[] => {
    if (query.name === 'usage-type-account') return [{ query, subjects: byAccount }];
    return query.name.startsWith('usage-type-shared-') ? [{ query, subjects: shared(query) }] : [];
  });
  return { list, services, usageTypes, regions };
}
