import { openCsv } from '../../transform/csv.js';
import type { Units } from '../shared/money.js';
import { formatAmount } from '../shared/money.js';
import type { Month } from '../shared/month.js';
import { printable } from '../shared/printable.js';
import { figuresOf } from '../shared/provisional.js';
import { formatTable, tableLines } from '../shared/table.js';
import type { Column, Value } from '../staging/tables.js';
import type { OrganizationChanges } from './month-changes.js';

type Compared = Extract<OrganizationChanges, { until: unknown }>;

const amountOrNone = (units: Units | undefined): string =>
  units === undefined ? '-' : formatAmount(units);

/** The lines in which people read what changed: totals, every change, and what was not compared. */
export function* changesLines(
  month: Month,
  found: readonly OrganizationChanges[],
): Generator<string> {
  const compared = found.filter(isCompared);
  if (compared.length > 0) {
    yield `${month} from one extraction to another`;
    yield '';
    yield totalsTable(compared);
    yield '';
    for (const { organization, since, until } of compared)
      if (since.detail !== until.detail)
        yield `${organization}: detail by ${since.detail}, then by ${until.detail}; AWS rounds each group by itself, so that differences of 0.000000001 or less are no change of cost\n`;
  }
  const rows = compared.flatMap(({ organization, changes }) =>
    changes.map((change) => [
      organization,
      change.account,
      printable(change.name),
      printable(change.service),
      change.change,
      amountOrNone(change.before),
      amountOrNone(change.after),
      formatAmount(change.difference),
      printable(change.currency),
    ]),
  );
  if (rows.length > 0) {
    yield* tableLines(
      [
        'organization',
        'account',
        'name',
        'service',
        'change',
        'before',
        'after',
        'difference',
        'currency',
      ],
      rows,
      ['before', 'after', 'difference'],
    );
    yield '';
  }
  if (compared.length > 0)
    yield rows.length === 1 ? '1 amount differs' : `${rows.length} amounts differ`;
  yield* uncomparedLines(found);
}

/** One line for each organization that was not compared, with the reason. */
export function uncomparedLines(found: readonly OrganizationChanges[]): string[] {
  return found.flatMap((one) =>
    isCompared(one) ? [] : [`${one.organization} is not compared: ${one.uncompared}`],
  );
}

function totalsTable(compared: readonly Compared[]): string {
  const head = [
    'organization',
    'since',
    'until',
    'figures',
    'before',
    'after',
    'difference',
    'currency',
  ];
  const rows = compared.flatMap(({ organization, since, until, totals }) => {
    const sides = [
      organization,
      since.extraction,
      until.extraction,
      figuresOf(until.provisional) ?? '',
    ];
    return totals.length === 0
      ? [[...sides, '0', '0', '0', '']]
      : totals.map(({ before, after, difference, currency }) => [
          ...sides,
          ...[before, after, difference].map(formatAmount),
          printable(currency),
        ]);
  });
  return formatTable(head, rows, ['before', 'after', 'difference']);
}

/** What changed as one JSON document; amounts are decimal texts, null where there was no such cost. */
export function changesToJson(month: Month, found: readonly OrganizationChanges[]): unknown {
  const orNull = (units: Units | undefined): string | null =>
    units === undefined ? null : formatAmount(units);
  return {
    month,
    organizations: found.map((one) =>
      isCompared(one)
        ? {
            organization: one.organization,
            since: one.since,
            until: one.until,
            totals: one.totals.map(({ currency, before, after, difference }) => ({
              currency,
              before: formatAmount(before),
              after: formatAmount(after),
              difference: formatAmount(difference),
            })),
            changes: one.changes.map((change) => ({
              ...change,
              before: orNull(change.before),
              after: orNull(change.after),
              difference: formatAmount(change.difference),
            })),
          }
        : one,
    ),
  };
}

const csvColumns: readonly Column[] = [
  { name: 'Month', type: 'string', description: 'Billing month' },
  { name: 'Organization', type: 'string', description: 'Organization' },
  { name: 'Since', type: 'string', description: 'The older extraction' },
  { name: 'Until', type: 'string', description: 'The newer extraction' },
  { name: 'Provisional', type: 'boolean', description: 'Whether the newer one may still change' },
  { name: 'Reference', type: 'string', description: 'Account id' },
  { name: 'TenantName', type: 'string', description: 'Account name' },
  { name: 'Service', type: 'string', description: 'Service' },
  { name: 'Change', type: 'string', description: '`appeared`, `vanished` or `changed`' },
  { name: 'Before', type: 'decimal', nullable: true, description: 'Amount in the older one' },
  { name: 'After', type: 'decimal', nullable: true, description: 'Amount in the newer one' },
  { name: 'Difference', type: 'decimal', description: 'After less Before' },
  { name: 'Currency', type: 'string', description: "The amounts' unit" },
];

/** Writes every change as CSV, in the same manner as the exports: `N/A` where there was no such cost. */
export async function writeChangesCsv(
  out: Parameters<typeof openCsv>[0],
  month: Month,
  found: readonly OrganizationChanges[],
): Promise<void> {
  const csv = openCsv(out, csvColumns);
  for (const { organization, since, until, changes } of found.filter(isCompared)) {
    const rows = changes.map((change): Value[] => [
      month,
      organization,
      since.extraction,
      until.extraction,
      until.provisional,
      change.account,
      change.name,
      change.service,
      change.change,
      change.before ?? null,
      change.after ?? null,
      change.difference,
      change.currency,
    ]);
    await csv.write({
      length: rows.length,
      columns: csvColumns.map((_, column) => rows.map((row) => row[column] ?? null)),
    });
  }
  await csv.finish();
}

function isCompared(one: OrganizationChanges): one is Compared {
  return one.uncompared === undefined;
}
