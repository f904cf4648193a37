import { sharedQueryName } from '../pipeline/staging/layout.js';
import type { Query } from '../pipeline/staging/manifest.js';

/** Usage type → the services that AWS bills it for; none where it does not say. */
export type ServicesOf = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * The questions that tell the cost of usage types that several services share, or that AWS names no service
 * of, by service and account.
 * Cost Explorer groups by two dimensions at most, so the third is fixed by a filter: either one usage
 * type, grouped by service and account, or one service, grouped by usage type and account. Each pair of a
 * usage type and a service is asked for exactly once, and no other set of such questions is smaller.
 */
export function sharedQueries(services: ServicesOf): Query[] {
  const shared = [...services]
    .filter(([, of]) => of.size !== 1)
    .map(([type, of]) => [type, [...of].sort()] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const cover = smallestCover(new Map(shared));
  const byType = shared
    .filter(([type, of]) => of.length === 0 || cover.left.has(type))
    .map(([type]): Unnamed => ({
      groupBy: ['SERVICE', 'LINKED_ACCOUNT'],
      filter: { USAGE_TYPE: [type] },
    }));
  const byService = [...cover.right].sort().map((service): Unnamed => ({
    groupBy: ['USAGE_TYPE', 'LINKED_ACCOUNT'],
    filter: {
      SERVICE: [service],
      USAGE_TYPE: shared
        .filter(([type, of]) => of.includes(service) && !cover.left.has(type))
        .map(([type]) => type),
    },
  }));
  return [...byType, ...byService].map((query, index) => ({
    name: sharedQueryName(index + 1),
    ...query,
  }));
}

type Unnamed = Omit<Query, 'name'>;

/**
 * The fewest vertices of a bipartite graph that touch every edge, by Kőnig's theorem: as many as a largest
 * matching has edges. The matching is grown by augmenting paths.
 * @param edges left vertex → its right neighbours.
 */
export function smallestCover(edges: ReadonlyMap<string, readonly string[]>): {
  left: Set<string>;
  right: Set<string>;
} {
  const leftOf = new Map<string, string>();
  const augment = (left: string, tried: Set<string>): boolean =>
    (edges.get(left) ?? []).some((right) => {
      if (tried.has(right)) return false;
      tried.add(right);
      const holder = leftOf.get(right);
      if (holder !== undefined && !augment(holder, tried)) return false;
      leftOf.set(right, left);
      return true;
    });
  const unmatched = [...edges.keys()].filter((left) => !augment(left, new Set()));
  // What alternating paths from unmatched left vertices reach: the cover is the rest of the left side and
  // the reached part of the right side.
  const reachedLeft = new Set<string>();
  const reachedRight = new Set<string>();
  const reach = (left: string): void => {
    if (reachedLeft.has(left)) return;
    reachedLeft.add(left);
    for (const right of edges.get(left) ?? []) {
      reachedRight.add(right);
      const holder = leftOf.get(right);
      if (holder !== undefined) reach(holder);
    }
  };
  // A left vertex that was matched when it was tried stays matched: later paths only swap its partner.
  unmatched.forEach(reach);
  return {
    left: new Set([...edges.keys()].filter((left) => !reachedLeft.has(left))),
    right: reachedRight,
  };
}
