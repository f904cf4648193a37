/**
 * By what Cost Explorer groups a month's cost: its own dimensions, the customer's tags, and cost categories. Each is
 * written as the table of breakdowns shows it: `REGION`, `TAG:team`, `COST_CATEGORY:Product`.
 */

/**
 * The dimensions that GetCostAndUsage groups by: those that it names itself when it refuses another one, and
 * INVOICING_ENTITY of its reference. A test holds them to the SDK's model.
 */
export const plainDimensions = [
  'AZ',
  'BILLING_ENTITY',
  'CACHE_ENGINE',
  'DATABASE_ENGINE',
  'DEPLOYMENT_OPTION',
  'INSTANCE_TYPE',
  'INSTANCE_TYPE_FAMILY',
  'INVOICING_ENTITY',
  'LEGAL_ENTITY_NAME',
  'LINKED_ACCOUNT',
  'OPERATING_SYSTEM',
  'OPERATION',
  'PLATFORM',
  'PURCHASE_TYPE',
  'RECORD_TYPE',
  'REGION',
  'RESERVATION_ID',
  'SAVINGS_PLANS_TYPE',
  'SAVINGS_PLAN_ARN',
  'SERVICE',
  'TENANCY',
  'USAGE_TYPE',
] as const;
export type PlainDimension = (typeof plainDimensions)[number];

/** What stands in front of a tag's key and a cost category's name; AWS's own words for the types of groups. */
const keyed = ['TAG', 'COST_CATEGORY'] as const;
type Keyed = `${(typeof keyed)[number]}:${string}`;

export type Dimension = PlainDimension | Keyed;

/** What an account's cost is split by; never the account itself, which every breakdown groups by too. */
export type Breakdown = Exclude<PlainDimension, 'LINKED_ACCOUNT'> | Keyed;

/** Most characters of a key or name (AWS: 128 of a tag's key, 50 of a cost category's name). */
const LONGEST_KEY = 128;

/** A dimension as AWS's API tells it apart. */
export interface GroupDefinition {
  Type: 'DIMENSION' | (typeof keyed)[number];
  Key: string;
}

/** A dimension in the form of AWS's API. A tag's key may itself hold a colon. */
export function definitionOf(dimension: Dimension): GroupDefinition {
  const type = keyed.find((one) => dimension.startsWith(`${one}:`));
  return type === undefined
    ? { Type: 'DIMENSION', Key: dimension }
    : { Type: type, Key: dimension.slice(type.length + 1) };
}

/** Whether a text is a dimension as it stands in a manifest. */
export function isDimension(text: unknown): text is Dimension {
  if (typeof text !== 'string') return false;
  const { Type, Key } = definitionOf(text as Dimension);
  if (Type === 'DIMENSION') return plainDimensions.some((one) => one === Key);
  return Key !== '' && Array.from(Key).length <= LONGEST_KEY && !/[\p{Cc}\p{Cs}]/u.test(Key);
}

/** Whether a text is what an account's cost can be split by. */
export function isBreakdown(text: unknown): text is Breakdown {
  return text !== 'LINKED_ACCOUNT' && isDimension(text);
}

/** Breakdowns in the order of their rows, each once. */
export function sortedBreakdowns(some: readonly Breakdown[]): Breakdown[] {
  return [...new Set(some)].sort();
}

/** The ways in which breakdowns are written in settings, for those who got one wrong. */
export const breakdownWords: readonly string[] = [
  ...plainDimensions.flatMap((name) => (isBreakdown(name) ? [writtenAs(name)] : [])),
  'tag:KEY',
  'cost-category:NAME',
];

/** A breakdown as a setting writes it: `record-type`, `tag:team`. */
export function writtenAs(dimension: Breakdown): string {
  const { Type, Key } = definitionOf(dimension);
  if (Type !== 'DIMENSION') return `${kebab(Type)}:${Key}`;
  return Key === 'LEGAL_ENTITY_NAME' ? 'legal-entity' : kebab(Key);
}

function kebab(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}

/**
 * Reads what a setting writes for a breakdown, in either form: `tag:team` or `TAG:team`. The case of a tag's key and
 * of a cost category's name is kept, since AWS tells them apart by it.
 * @returns `undefined` for what is none.
 */
export function parseBreakdown(text: string): Breakdown | undefined {
  const [, head = '', key] = /^([^:]*)(:.*)?$/su.exec(text) ?? [];
  const name = head.toUpperCase().replaceAll('-', '_');
  const dimension = `${name === 'LEGAL_ENTITY' ? 'LEGAL_ENTITY_NAME' : name}${key ?? ''}`;
  return isBreakdown(dimension) ? dimension : undefined;
}

/**
 * The value in a group's key. AWS writes the value of a tag and of a cost category behind its key and a `$`, both of
 * which may hold more of them: `team$backend`, and `team$` where the cost has none.
 * @returns `undefined` for what is no value of the dimension.
 */
export function valueIn(dimension: Dimension, key: string): string | undefined {
  // Only a tag's and a cost category's name have a colon, and a page has thousands of keys.
  if (!dimension.includes(':')) return key;
  const { Key } = definitionOf(dimension);
  return key.startsWith(`${Key}$`) ? key.slice(Key.length + 1) : undefined;
}

/**
 * Where each dimension's value stands in a group's keys, by the definitions that an answer repeats; without any, in
 * the order that was asked for.
 * @returns `undefined` when it groups by something else.
 */
export function keyPositions(
  given: readonly { Type?: string | undefined; Key?: string | undefined }[],
  asked: readonly Dimension[],
): number[] | undefined {
  if (given.length === 0) return [...asked.keys()];
  const positions = asked.map((dimension) => {
    const { Type, Key } = definitionOf(dimension);
    return given.findIndex((one) => one.Key === Key && (one.Type ?? Type) === Type);
  });
  const isSame = given.length === asked.length && new Set(positions).size === asked.length;
  return isSame && !positions.includes(-1) ? positions : undefined;
}
