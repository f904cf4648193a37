import { billingPeriod } from '../shared/month.js';
import { tables } from '../staging/tables.js';
import type {
  Amount,
  Compared,
  CurrencyFigures,
  InvoiceRow,
  Look,
  MonthFigures,
  MonthReport,
} from './figures.js';
import type { CellKind, CellValue, Sheet, SheetColumn } from './xlsx.js';
import { writeXlsx } from './xlsx.js';

/**
 * Writes the month's workbook: what the pages show, and every row behind it. An amount stands twice, as a number
 * to add up, and as text with all its digits.
 * @param file of the workbook; it is made, or replaced.
 * @throws the system's error when it cannot be written.
 */
export async function writeWorkbook(
  report: MonthReport,
  { title }: Look,
  file: string,
): Promise<void> {
  const { figures } = report;
  const { month, made } = figures;
  await writeXlsx(file, { title: `${title ?? 'AWS cost'}, ${month}`, created: made }, [
    sheet('Summary', summaryColumns, summaryRows(figures)),
    sheet('Customers', customerColumns, customerRows(figures)),
    sheet('Services', serviceColumns, serviceRows(figures)),
    sheet('Consumption', consumptionColumns(month), report.consumption()),
    sheet('Breakdowns', breakdownColumns(month), report.breakdowns()),
    sheet('Invoices', invoiceColumns, report.invoices()),
    ...(figures.currencies.some(({ margins }) => margins !== null)
      ? [
          sheet('Margins', marginColumns, marginRows(figures)),
          sheet('Margin gaps', gapColumns, gapRows(figures)),
        ]
      : []),
  ]);
}

/** A column of a sheet, and what stands in it for a row's source. */
interface Column<T> extends SheetColumn {
  of: (row: T) => CellValue;
}

function sheet<T>(name: string, columns: readonly Column<T>[], rows: Iterable<T>): Sheet {
  return { name, columns, rows: cells(columns, rows) };
}

function* cells<T>(columns: readonly Column<T>[], rows: Iterable<T>): Generator<CellValue[]> {
  for (const row of rows) yield columns.map(({ of }) => of(row));
}

function column<T>(
  title: string,
  width: number,
  of: (row: T) => CellValue,
  kind: CellKind = 'text',
): Column<T> {
  return { title, width, kind, of };
}

/** An amount as number and as text. */
function money<T>(title: string, of: (row: T) => Amount | null): Column<T>[] {
  return [column(title, 16, of, 'amount'), column(`${title}, exact`, 26, of, 'exact')];
}

/** What an amount is compared with; whoever has no amount at all is compared with nothing. */
type MaybeCompared = Omit<Compared, 'amount'> & { amount: Amount | null };

const comparison: readonly Column<MaybeCompared>[] = [
  ...money<MaybeCompared>('Amount', ({ amount }) => amount),
  ...money<MaybeCompared>('Month before', ({ previous }) => previous),
  ...money<MaybeCompared>('Change', ({ change }) => change),
  column('Change in percent', 18, ({ ratio }) => ratio, 'share'),
];

interface SummaryRow extends MaybeCompared {
  month: string;
  organization: string;
  state: string;
  fetched: string | null;
  currency: string;
  aws: Amount | null;
  difference: Amount | null;
  invoices: Invoiced | null;
  note: string | null;
}

/** What was invoiced, and how far. */
type Invoiced = Pick<
  NonNullable<CurrencyFigures['invoices']>['organizations'][number],
  'compared'
> & { state: string };

const summaryColumns: readonly Column<SummaryRow>[] = [
  column('Month', 10, ({ month }) => month),
  column('Organization', 20, ({ organization }) => organization),
  column('Figures', 12, ({ state }) => state),
  column('Fetched (UTC)', 20, ({ fetched }) => fetched, 'instant'),
  column('Currency', 10, ({ currency }) => currency),
  ...comparison,
  ...money<SummaryRow>("AWS's total", ({ aws }) => aws),
  ...money<SummaryRow>("AWS's total less the rows", ({ difference }) => difference),
  ...money<SummaryRow>('Invoices', ({ invoices }) => invoices?.compared.invoices.total ?? null),
  ...money<SummaryRow>(
    'Credit memos',
    ({ invoices }) => invoices?.compared.creditMemos.total ?? null,
  ),
  ...money<SummaryRow>(
    "Invoices less AWS's total",
    ({ invoices }) => invoices?.compared.difference ?? null,
  ),
  column('Invoices are', 18, ({ invoices }) => invoices?.state ?? null),
  column('Note', 60, ({ note }) => note),
];

/** The month, and each of its organizations, by currency. */
function* summaryRows(figures: MonthFigures): Generator<SummaryRow> {
  const { month, state, fetched, uncompared } = figures;
  for (const { currency, total, aws, organizations, breakdowns, invoices } of figures.currencies) {
    const all = invoices?.total ?? null;
    const unasked = aws.unasked.join(', ');
    const notes = [
      uncompared,
      unasked === '' ? null : `AWS's total was not asked for of ${unasked}.`,
      ...breakdowns.flatMap(({ dimension, without }) =>
        without.map(
          ({ organization, refused }) =>
            `${dimension} was not fetched of ${organization}${refused === null ? '' : `, AWS refused it: ${refused}`}.`,
        ),
      ),
    ];
    yield {
      ...total,
      ...{ month, organization: 'all organizations', state, fetched: fetched.newest, currency },
      ...{ aws: aws.total, difference: aws.difference },
      invoices: all === null ? null : { compared: all, state: '' },
      note: notes.filter((note) => note !== null).join(' '),
    };
    for (const one of organizations) {
      const known = figures.organizations.find((each) => each.organization === one.organization);
      yield {
        ...one,
        ...{ month, currency, aws: null, difference: null },
        invoices:
          invoices?.organizations.find((each) => each.organization === one.organization) ?? null,
        state: known?.state ?? '',
        fetched: known?.fetched ?? null,
        note: known?.reason ?? null,
      };
    }
  }
}

/** A row of a currency's section. */
type Of<T> = T & { currency: string };

function* sectionRows<T>(
  { currencies }: MonthFigures,
  of: (section: MonthFigures['currencies'][number]) => readonly T[],
): Generator<Of<T>> {
  for (const section of currencies)
    for (const one of of(section)) yield { ...one, currency: section.currency };
}

/** What the page says of customers who had no cost in both months. */
const presences = { new: 'new', vanished: 'gone', kept: null, idle: 'no cost' } as const;

type CustomerRow = Of<MonthFigures['currencies'][number]['customers'][number]>;

const customerColumns: readonly Column<CustomerRow>[] = [
  column('Customer', 36, ({ name }) => name),
  column('Id', 16, ({ id }) => id),
  column('Accounts', 30, ({ accounts }) => accounts.join(', ')),
  column('Organizations', 20, ({ organizations }) => organizations.join(', ')),
  column('Status', 12, ({ status }) => status),
  column('New or gone', 12, ({ presence }) => presences[presence]),
  column('Currency', 10, ({ currency }) => currency),
  ...comparison,
  column('Share', 10, ({ share }) => share, 'share'),
];

const customerRows = (figures: MonthFigures): Iterable<CustomerRow> =>
  sectionRows(figures, ({ customers }) => customers);

type ServiceRow = Of<MonthFigures['currencies'][number]['services'][number]>;

const serviceColumns: readonly Column<ServiceRow>[] = [
  column('Service', 44, ({ service }) => service),
  column('Customers', 12, ({ customers }) => customers, 'count'),
  column('Currency', 10, ({ currency }) => currency),
  ...comparison,
  column('Share', 10, ({ share }) => share, 'share'),
];

const serviceRows = (figures: MonthFigures): Iterable<ServiceRow> =>
  sectionRows(figures, ({ services }) => services);

type Margins = NonNullable<MonthFigures['currencies'][number]['margins']>;
type MarginSheetRow = Of<Margins['customers'][number]>;
type GapSheetRow = Of<Margins['gaps'][number]>;

const marginColumns: readonly Column<MarginSheetRow>[] = [
  column('Customer', 36, ({ name }) => name),
  column('Id', 16, ({ id }) => id),
  column('Currency', 10, ({ currency }) => currency),
  ...money<MarginSheetRow>('Billed', ({ amount }) => amount),
  ...money<MarginSheetRow>('Cost', ({ cost }) => cost),
  ...money<MarginSheetRow>('Margin', ({ margin }) => margin),
  column('Margin in percent', 18, ({ ratio }) => ratio, 'share'),
];

const marginRows = (figures: MonthFigures): Iterable<MarginSheetRow> =>
  sectionRows(figures, ({ margins }) => margins?.customers ?? []);

const gapColumns: readonly Column<GapSheetRow>[] = [
  column('Customer', 36, ({ name }) => name),
  column('Id', 16, ({ id }) => id),
  column('Service', 44, ({ service }) => service),
  column('What is there', 24, ({ side }) =>
    side === 'bill' ? 'billed, without a cost' : 'cost, not billed',
  ),
  column('Currency', 10, ({ currency }) => currency),
  ...money<GapSheetRow>('Amount', ({ amount }) => amount),
];

const gapRows = (figures: MonthFigures): Iterable<GapSheetRow> =>
  sectionRows(figures, ({ margins }) => margins?.gaps ?? []);

type RowOf<K extends 'consumption' | 'breakdowns'> =
  ReturnType<MonthReport[K]> extends Iterable<infer R> ? R : never;
type ConsumptionRow = RowOf<'consumption'>;
type BreakdownRow = RowOf<'breakdowns'>;

function placeColumns(month: MonthFigures['month']): Column<ConsumptionRow | BreakdownRow>[] {
  const period = billingPeriod(month);
  return [
    column('Billing period', 14, () => period, 'date'),
    column('Customer', 36, ({ customer }) => customer),
    column('Account', 16, ({ account }) => account),
    column('Account name', 36, ({ accountName }) => accountName),
    column('Organization', 20, ({ organization }) => organization),
  ];
}

const amountColumns: readonly Column<ConsumptionRow | BreakdownRow>[] = [
  ...money<ConsumptionRow | BreakdownRow>('Amount', ({ amount }) => amount),
  column('Currency', 10, ({ currency }) => currency),
];

const consumptionColumns = (month: MonthFigures['month']): Column<ConsumptionRow>[] => [
  ...placeColumns(month),
  column('Service', 44, ({ service }) => service),
  column('Usage type', 36, ({ usageType }) => usageType),
  column('Region', 16, ({ region }) => region),
  column('Quantity', 18, ({ quantity }) => quantity, 'number'),
  column('Quantity, exact', 26, ({ quantity }) => quantity, 'exact'),
  column('Unit', 14, ({ unit }) => unit),
  ...amountColumns,
];

const breakdownColumns = (month: MonthFigures['month']): Column<BreakdownRow>[] => [
  ...placeColumns(month),
  column('Dimension', 24, ({ dimension }) => dimension),
  column('Value', 30, ({ value }) => value),
  ...amountColumns,
];

const kindOf = { timestamp: 'instant', date: 'date', string: 'text', boolean: 'text' } as const;

/** Those of the table. */
const invoiceColumns: readonly Column<InvoiceRow>[] = tables.invoices.flatMap(({ name, type }) => {
  const of = (row: InvoiceRow): string | null => row[name] ?? null;
  return type === 'decimal' ? money(name, of) : [column(name, 20, of, kindOf[type])];
});
