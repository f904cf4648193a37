import { select } from '../config/selection.js';
import type { FoundInvoices } from '../inspect/staged-invoices.js';
import type { Resources } from '../run/resources.js';
import { UsageError } from '../shared/errors.js';
import { print, tell } from '../shared/output.js';
import { printable, printableLines } from '../shared/printable.js';
import { command, configure, flags, off, one, pick } from './command.js';

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
    csv: { ...off(), describe: 'Print the invoices as CSV' },
    ...pick('staging', 'config', 'timeout', 'json', 'log-level'),
  },
  epilogue:
    'Reads the staged Parquet files; they have invoices where the month was fetched with --invoices. Only --download asks AWS: for each PDF that is not there yet, with the right invoicing:GetInvoicePDF. Exit code 1 when one could not be saved.',
  examples: [
    ['invoices --month 2026-10', 'the invoices of a month, and what they are beside its cost'],
    ['invoices --month 2026-10 --csv > invoices.csv', 'the same invoices as CSV'],
    ['invoices --month 2026-10 --download invoices', 'each as PDF, with its sha256'],
  ],
  async work(args, { signal, open }) {
    const { months, organizations } = select(args, new Date());
    const { csv, json, download } = args;
    if (csv && json)
      throw new UsageError('--json does not go with --csv', { next: 'use one or the other' });
    const config = await configure(args, {
      organizations: download !== undefined,
      database: false,
    });
    const { findInvoices, invoicesText, invoicesToJson, writeInvoicesCsv } =
      await import('../inspect/staged-invoices.js');
    const { documentLines, documentsToJson } = await import('../export/invoice-documents.js');
    const resources = await open(config);
    const found = await findInvoices({ staging: resources.staging, months, organizations, signal });
    const saved =
      download === undefined ? undefined : await save(download, found, resources, signal);
    return {
      async text() {
        if (csv) {
          // A program gets the texts as they are, a terminal does not.
          const write = process.stdout.isTTY
            ? (chunk: string | Uint8Array) => print(printableLines(Buffer.from(chunk).toString()))
            : print;
          await writeInvoicesCsv({ write }, resources.staging, found);
          for (const line of documentLines(saved ?? [])) tell(printable(line));
          return;
        }
        const lines = [...invoicesText(found), ...documentLines(saved ?? [])];
        await print(`${lines.map(printableLines).join('\n')}\n`);
      },
      json: () => ({
        slices: invoicesToJson(found),
        documents: saved === undefined ? null : documentsToJson(saved),
      }),
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
