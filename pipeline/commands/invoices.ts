import { select } from '../config/selection.js';
import type { FoundInvoices } from '../inspect/staged-invoices.js';
import type { Resources } from '../run/resources.js';
import { command, configure, flags, one, pick } from './command.js';

/** `pipeline invoices`: what AWS invoiced of the months that are staged, and the invoices themselves as PDF. */
export const invoices = command({
  name: 'invoices',
  describe: 'Show the invoices of a month beside its cost, and save them as PDF',
  flags: {
    month: flags.month,
    ...pick('from', 'to', 'organization'),
    download: {
      ...one(),
      describe: 'Save each invoice as PDF below this folder; a file that is there is kept',
    },
    ...pick('staging', 'config', 'timeout', 'output', 'json', 'log-level'),
  },
  epilogue:
    'Reads the staged Parquet files; they have invoices where the month was fetched with --invoices. Only --download asks AWS: for each PDF that is not there yet, with the right invoicing:GetInvoicePDF. Exit code 1 when one could not be saved.',
  examples: [
    ['invoices --month 2026-10', 'the invoices of a month, and what they are beside its cost'],
    ['invoices --month 2026-10 --output csv > invoices.csv', 'the same invoices as CSV'],
    ['invoices --month 2026-10 --download invoices', 'each as PDF, with its sha256'],
  ],
  async work(args, { signal, open }) {
    const { months, organizations } = select(args, new Date());
    const { download } = args;
    const config = await configure(args, {
      organizations: download !== undefined,
      database: false,
    });
    const { findInvoices, invoicesTable, invoicesText, invoicesToJson } =
      await import('../inspect/staged-invoices.js');
    const { documentLines, documentsToJson } = await import('../export/invoice-documents.js');
    const resources = await open(config);
    const found = await findInvoices({ staging: resources.staging, months, organizations, signal });
    const saved =
      download === undefined ? undefined : await save(download, found, resources, signal);
    const documents = documentLines(saved ?? []);
    return {
      text: () => [...invoicesText(found), ...documents].join('\n'),
      json: () => ({
        slices: invoicesToJson(found),
        documents: saved === undefined ? null : documentsToJson(saved),
      }),
      table: () => ({ ...invoicesTable(found), notes: documents }),
      failed: saved?.some(({ state }) => state === 'failed') === true,
    };
  },
});

async function save(
  folder: string,
  found: readonly FoundInvoices[],
  resources: Resources,
  signal: AbortSignal,
) {
  const { saveDocuments } = await import('../export/invoice-documents.js');
  const wanted = found.flatMap(({ month, organization, listed }) =>
    [...new Set(listed.map(({ id }) => id))].map((invoice) => ({ month, organization, invoice })),
  );
  return saveDocuments(
    folder,
    wanted,
    async ({ organization, invoice }) =>
      (await resources.source(organization)).invoiceDocument(invoice, signal),
    signal,
  );
}
