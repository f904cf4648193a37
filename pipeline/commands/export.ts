import { select } from '../config/selection.js';
import { describeSlices, products, shownCommand, subjectOf } from '../shared/commands.js';
import { UsageError } from '../shared/errors.js';
import { command, configure, one, pick } from './command.js';

/** `pipeline export`: the rows of customers or organizations as one file. */
export const exportFile = command({
  name: 'export [file]',
  describe: "Write a customer's or an organization's rows of several months as one file",
  flags: {
    file: {
      type: 'string',
      describe: 'File to write: .csv, .xlsx or .parquet',
    },
    customer: { ...one(), describe: 'Only this customer: an account id, or its whole name' },
    ...pick('organization', 'month', 'from', 'to'),
    format: {
      ...one(),
      choices: ['csv', 'xlsx', 'parquet'],
      describe: "Kind of file (default: as the file's name ends)",
    },
    ...pick('staging', 'config', 'timeout', 'json', 'log-level'),
  },
  epilogue:
    'Reads the staged Parquet files alone. The file has the columns of consumption behind month and TenantName; it appears whole, and replaces an older one of its name. Amounts are exact; a spreadsheet has each as a number of 15 digits and, beside it, as exact text. A file of one customer has nothing of what the reseller pays (CostAmount): it may be handed on.',
  examples: [
    ['export acme.xlsx --customer 000000000012', "one customer's last complete month"],
    ['export acme.csv --from 2026-08 --to 2026-10', 'three months of every customer'],
  ],
  async work(args, { signal, open }) {
    const { exportRows, formatOf } = await import('../export/export-file.js');
    // Its own format, whatever a setting of that name means elsewhere.
    const { file, customer, format: kind, ...others } = args;
    if (file === undefined)
      throw new UsageError('no file is named', {
        next: 'name the file to write, such as customer.xlsx',
      });
    const format = formatOf(file, kind);
    const now = new Date();
    const { months, organizations } = select(args, now);
    const config = await configure(others, { organizations: false, database: false });
    const { staging } = await open(config);
    const { provisionalDays } = config;
    const chosen = { staging, months, organizations, customer, signal };
    const done = await exportRows({ ...chosen, file, format, provisionalDays, now });
    const { sums, provisional, stale, absent } = done;
    return {
      text: () => {
        const [first, last] = [months[0] ?? '', months.at(-1) ?? ''];
        const amounts = Object.entries(sums.totals).map(([currency, sum]) => `${sum} ${currency}`);
        return [
          `${file}: ${sums.rows} rows of ${done.customers} ${done.customers === 1 ? 'customer' : 'customers'}, ${first === last ? first : `${first} to ${last}`}, ${amounts.join(', ')}`,
          ...(provisional.length === 0
            ? []
            : [`provisional, AWS may still change them: ${provisional.join(', ')}`]),
          ...products(stale).map(
            (some) =>
              `${describeSlices(some)}: fetched again since its tables were made, so the file has older figures; make them anew with "${shownCommand({ stages: ['transform', 'load'], ...subjectOf(...some) })}", then export again`,
          ),
          ...products(absent).map(
            (some) =>
              `${describeSlices(some)}: absent from the file, though the months around have ${some.length === 1 ? 'it' : 'them'}; fetch with "${shownCommand(subjectOf(...some))}", then export again`,
          ),
        ].join('\n');
      },
      json: () => {
        const {
          sums: { rows, totals, columns },
          ...others
        } = done;
        return { ...others, rows, totals, columns };
      },
      failed: false,
    };
  },
});
