import type { Breakdown as Dimension } from '../shared/dimensions.js';
import type { InvoiceState, InvoicedCurrency } from '../shared/invoice-comparison.js';
import type { Month } from '../shared/month.js';
import type { Detail } from '../shared/scope.js';

/** An exact amount of its section's currency, in plain decimal notation: `-12.5`. */
export type Amount = string;

/** A part of a whole as plain decimal: `0.118` is 11.8 %. */
export type Ratio = string;

/** An amount beside that of the month before. */
export interface Compared {
  amount: Amount;
  /** Null: the month before is not there, or a part of it is missing that this amount would need. */
  previous: Amount | null;
  /** `amount` less `previous`. */
  change: Amount | null;
  /** `change` ÷ |`previous`|; null too where `previous` is 0. */
  ratio: Ratio | null;
}

/** A compared amount that is a part of its section's total. */
export interface Share extends Compared {
  /** `amount` ÷ total; null where the total is not above 0. */
  share: Ratio | null;
}

/** Whether AWS may still change a month's figures. */
export type State = 'provisional' | 'final';

/** An organization that belongs to the month, whether its figures are there or not. */
export interface OrganizationState {
  organization: string;
  /** `stale`: AWS was asked again since its figures were made; `missing`: it has no figures in this report. */
  state: State | 'stale' | 'missing';
  /** Why it is stale or missing, as a sentence; null otherwise. */
  reason: string | null;
  /** The command that mends it. */
  command: string | null;
  /** ISO 8601 instant at which its figures were fetched; null where it has none. */
  fetched: string | null;
  detail: Detail | null;
}

/** A customer of the month, who may have several accounts. */
export interface Customer {
  /** The account's id, or the name of the group that the configuration file makes of several. */
  id: string;
  /** As people know it: the account's name, or the group's; the id where AWS gives none. Hostile text. */
  name: string;
  /** Statement without its folder and ending, a safe file name: `000456789012`, `acme-000456789012`. */
  file: string;
  /** Its accounts' ids. */
  accounts: readonly string[];
  organizations: readonly string[];
  /** Its accounts' status, in AWS's words in lower case; `gone` when it has no row of this month; each once. */
  status: string;
  /** `new`: cost now and none in the month before; `vanished`: the reverse; `idle`: no cost in either. */
  presence: 'new' | 'vanished' | 'kept' | 'idle';
}

export interface CustomerFigures extends Customer, Share {}

export interface ServiceFigures extends Share {
  service: string;
  /** Customers who have cost of it. */
  customers: number;
}

/** One bar of at most ten. */
export interface Bar {
  name: string;
  /** A customer's statement, see {@link Customer}; null for what has none. */
  file: string | null;
  amount: Amount;
  share: Ratio | null;
}

/** The largest ten, and all others in one; together they are the total. */
export interface Bars {
  bars: readonly Bar[];
  others: { count: number; amount: Amount; share: Ratio | null } | null;
}

/** What moved from the month before, each way; both sides' amounts together are the change of the total. */
export interface Movers {
  up: MovingSide;
  down: MovingSide;
}

export interface MovingSide {
  /** How many moved this way, and by how much in all. */
  count: number;
  amount: Amount;
  /** The largest five. */
  top: readonly Mover[];
  others: { count: number; amount: Amount } | null;
}

export interface Mover extends Compared {
  name: string;
  file: string | null;
  kind: 'new' | 'vanished' | 'changed';
}

/** What AWS changed of an organization's month between the fetch before and the one that is shown. */
export interface Restatement {
  organization: string;
  /** ISO 8601 instants of the two fetches. */
  since: string;
  until: string;
  before: Amount;
  after: Amount;
  difference: Amount;
}

/** Cost by the values of a dimension, a tag or a cost category. */
export interface Breakdown {
  /** As the table `breakdowns` has it: `RECORD_TYPE`, `TAG:team`. */
  dimension: Dimension;
  /**
   * The values, the largest first; '' is what has none. Hostile texts. Σ + further + rest = total. Of more than a page
   * can hold, the largest, and always ''.
   */
  values: readonly { value: string; amount: Amount; share: Ratio | null }[];
  /** What is left out of them, in one sum; null: nothing is. */
  further: { count: number; amount: Amount; share: Ratio | null } | null;
  top: Bars;
  /** What the total has beyond the values, since AWS rounds each of them. */
  rest: Amount;
}

/** Of the month: of organizations that it was not fetched of, the cost is in no value. */
export interface MonthBreakdown extends Breakdown {
  /** Those organizations, with AWS's words where it refused them this part. */
  without: readonly { organization: string; refused: string | null }[];
}

/** What is to be said of an organization's invoices, whatever the currency. */
export interface OrganizationInvoices {
  organization: string;
  state: InvoiceState;
  /** Sentences without a point. */
  reasons: readonly string[];
  /** What is in AWS's list and not in the sums, and why. Hostile texts. */
  uncounted: readonly { id: string; reason: string }[];
}

/** What was billed, what that costs the reseller, and the one less the other. */
export interface Margin {
  amount: Amount;
  cost: Amount;
  margin: Amount;
  /** `margin` ÷ `amount`; null where the amount is not above 0. */
  ratio: Ratio | null;
}

/** Services of a customer that stand on one side only: their margin is all of the bill, or all of the cost. */
export interface MarginGap extends Pick<Customer, 'id' | 'name' | 'file'> {
  service: string;
  /** Where it stands: in the bill alone, or in the cost view alone. */
  side: 'bill' | 'cost';
  amount: Amount;
}

/** What the month earns; never on a statement. */
export interface Margins {
  /** Organizations without a cost view, or whose cost view AWS refused: their bill is in none of these. */
  without: readonly { organization: string; refused: string | null }[];
  total: Margin;
  /** By name. Σ = total. */
  organizations: readonly (Margin & { organization: string })[];
  /** The largest bill first. Σ = total. */
  customers: readonly (Margin & Pick<Customer, 'id' | 'name' | 'file'>)[];
  /** The largest first. */
  gaps: readonly MarginGap[];
}

/** A month of the trend, oldest first; a month in which nothing is there is `missing`. */
export interface TrendMonth {
  month: Month;
  state: State | 'missing';
  /** What is not in it, as a sentence; null when it is whole. */
  gap: string | null;
  /** Null when it is missing. */
  amount: Amount | null;
  /** In the order of `trendOrganizations`, null where one has no figures of the month. */
  organizations: readonly { organization: string; amount: Amount | null }[];
}

/** Everything of one currency: different currencies are never added. */
export interface CurrencyFigures {
  currency: string;
  total: Compared;
  aws: {
    /** AWS's own ungrouped total; null where it was not asked for of every organization. */
    total: Amount | null;
    /** That less our sum. */
    difference: Amount | null;
    /** Organizations whose total was not asked for. */
    unasked: readonly string[];
  };
  /** By amount, the largest first; those without figures last, `amount` null. Σ = total. */
  organizations: readonly (Omit<Share, 'amount'> & {
    organization: string;
    amount: Amount | null;
  })[];
  /** Up to 13 months, the shown one last. */
  trend: readonly TrendMonth[];
  /** The section's organizations in their order, then those that had cost in earlier months only. */
  trendOrganizations: readonly string[];
  /** Every service, the largest first. Σ = total. */
  services: readonly ServiceFigures[];
  topServices: Bars;
  /** Every customer, the largest first. Σ = total. */
  customers: readonly CustomerFigures[];
  topCustomers: Bars;
  /** Null where the month before cannot be compared. */
  movingCustomers: Movers | null;
  movingServices: Movers | null;
  /** Empty where the month before cannot be compared. */
  newCustomers: readonly CustomerFigures[];
  vanishedCustomers: readonly CustomerFigures[];
  /** Of organizations that were fetched more than once and changed. */
  restated: readonly Restatement[];
  /** What was fetched of any organization, charge types first. */
  breakdowns: readonly MonthBreakdown[];
  /** Null where no organization has invoices beside its cost of this currency. */
  invoices: {
    organizations: readonly {
      organization: string;
      state: InvoiceState;
      compared: InvoicedCurrency;
    }[];
    /** All of them together; null where there is but one. */
    total: InvoicedCurrency | null;
  } | null;
  /** Null where no organization has a cost view. */
  margins: Margins | null;
}

/** The month's page. */
export interface MonthFigures {
  month: Month;
  /** The calendar month before. */
  previousMonth: Month;
  /** ISO 8601 instant at which the report was made. */
  made: string;
  state: State;
  /** The first day (UTC, `2026-11-11`) on which a fetch makes the figures final. */
  finalFrom: string;
  /** ISO 8601 instants of the oldest and the newest fetch among the organizations. */
  fetched: { oldest: string; newest: string };
  /** Every organization of the month by name, missing ones too. */
  organizations: readonly OrganizationState[];
  /** Why totals are not compared with the month before, as a sentence; null when they are. */
  uncompared: string | null;
  /** The organizations that were asked for invoices, by name. */
  invoices: readonly OrganizationInvoices[];
  /** Which months tell the cost of another billing view than this one, as sentences. */
  otherViews: readonly string[];
  /** Most customers first; almost always one. Never empty. */
  currencies: readonly CurrencyFigures[];
}

/** What a usage type of a service cost a customer. */
export interface UsageFigures {
  usageType: string;
  /** Null where it has none. */
  region: string | null;
  /** Plain decimals; null where AWS gives none. */
  quantity: string | null;
  unit: string | null;
  /** `amount` ÷ `quantity` to 18 digits; null for credits and without a unit. */
  price: string | null;
  amount: Amount;
}

export interface StatementService extends Share {
  service: string;
  /** Empty where the detail by usage type was not fetched. Σ = amount. */
  usage: readonly UsageFigures[];
}

/** One currency of a statement. */
export interface StatementCurrency {
  currency: string;
  total: Compared;
  /** Each account of the customer; one where it has one. Σ = total. */
  accounts: readonly (Share & { account: string; name: string; status: string })[];
  /** Every service, the largest first; what there was in the month before only stands last with 0. Σ = total. */
  services: readonly StatementService[];
  topServices: Bars;
  movingServices: Movers | null;
  /** Up to 13 months, the shown one last; null where there are no figures, or not all of them. */
  trend: readonly { month: Month; state: State | 'missing'; amount: Amount | null }[];
  /** What was fetched of all its accounts, charge types first; no cost categories, which are the payer's. */
  breakdowns: readonly Breakdown[];
}

/** An amount of a month that an earlier statement told otherwise. */
export interface Correction {
  month: Month;
  currency: string;
  /** ISO 8601 instant at which that statement was made. */
  reported: string;
  before: Amount;
  after: Amount;
  difference: Amount;
}

/** What is handed to one customer: nothing of others, of organizations, or of where it comes from. */
export interface StatementFigures {
  month: Month;
  previousMonth: Month;
  made: string;
  /** What a later report knows the customer by: all accounts' ids. */
  key: string;
  /** What its figures were made from, as a digest: the same until AWS was asked again. */
  source: string;
  state: State;
  finalFrom: string;
  /** ISO 8601 instant of the oldest fetch among its accounts' figures. */
  fetched: string;
  id: string;
  name: string;
  file: string;
  accounts: readonly { account: string; name: string; status: string }[];
  /** Accounts of it whose figures of the month are not there, or maybe not all: the sum is a part only. */
  missingAccounts: readonly string[];
  /** Why it is not compared with the month before; null when it is. Safe to hand out. */
  uncompared: string | null;
  /** Largest number of services first; never empty. */
  currencies: readonly StatementCurrency[];
  /** Of this month and of those before it, oldest first. */
  corrections: readonly Correction[];
}

/** A row of consumption as the workbook holds it. */
export interface ConsumptionRow {
  customer: string;
  account: string;
  accountName: string;
  organization: string;
  service: string;
  /** Null in the detail by service. */
  usageType: string | null;
  region: string | null;
  quantity: string | null;
  unit: string | null;
  amount: Amount;
  currency: string;
}

/** A row of breakdowns as the workbook holds it. */
export interface BreakdownRow {
  customer: string;
  account: string;
  accountName: string;
  organization: string;
  dimension: string;
  /** '' where AWS gives none. */
  value: string;
  amount: Amount;
  currency: string;
}

/** An invoice as the workbook holds it: a value for each column of the table, null where there is none. */
export type InvoiceRow = Readonly<Record<string, string | null>>;

/** The month's figures, and what is too much to hold at once. */
export interface MonthReport {
  figures: MonthFigures;
  /** One statement after the other, of all customers or of those with these `file` names. */
  statements(files?: ReadonlySet<string>): Iterable<StatementFigures>;
  /** Every row, customer by customer. */
  consumption(): Iterable<ConsumptionRow>;
  breakdowns(): Iterable<BreakdownRow>;
  invoices(): Iterable<InvoiceRow>;
}

/** How a report looks, as the settings say it. */
export interface Look {
  /** Stands above every page; null: the page's own title alone. */
  title: string | null;
  /** Stands below every page; null: none. */
  footer: string | null;
  /** A `data:` address of a PNG or SVG; null: none. */
  logo: string | null;
  /** BCP 47: decides thousands and decimals, `en`; words and dates are English. */
  locale: string;
  /** `1,234.50 USD` or `$1,234.50`. */
  currency: 'code' | 'symbol';
}
