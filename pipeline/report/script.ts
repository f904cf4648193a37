/** Runs before the page is laid out: what a script shows a few of is not laid out whole at first. */
export const earlyScript = `document.documentElement.classList.add('js')`;

/** Rows that a long table shows before it is asked for all of them; print shows all. */
export const FEW_ROWS = 200;

/** Whether a row of so many waits until all are asked for. */
export function isLater(row: number, rows: number): boolean {
  return rows > 2 * FEW_ROWS && row >= FEW_ROWS;
}

/**
 * What runs in the reader's browser: it sorts, filters and shows exact amounts, and nothing else. All
 * that it works on is in the page already, which reads as well without it. The function is written
 * into each file as text, so it uses nothing from outside itself.
 */
function enhance(few: number): void {
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
  const fold = (text: string): string =>
    text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

  for (const table of document.querySelectorAll<HTMLTableElement>('table.sortable')) {
    const body = table.tBodies[0];
    const heads = [...(table.tHead?.rows[0]?.cells ?? [])];
    if (body === undefined) continue;
    const given = [...body.rows];
    let rows = given;
    let isWhole = given.length <= 2 * few;
    let matches: ((row: HTMLTableRowElement) => boolean) | undefined;

    const find = document.querySelector<HTMLElement>(`[data-finds="${table.id}"]`);
    const input = find?.querySelector('input');
    const status = find?.querySelector('output');
    const more = document.createElement('button');
    more.type = 'button';
    more.className = 'plain more screen';
    table.parentElement?.after(more);

    const { locale } = document.documentElement.dataset;
    const counted = (rows: number): string => rows.toLocaleString(locale);
    const show = (): void => {
      let found = 0;
      for (const row of rows) {
        row.hidden = matches !== undefined && !matches(row);
        if (!row.hidden) found += 1;
        row.classList.toggle('later', !row.hidden && !isWhole && found > few);
      }
      more.hidden = isWhole || found <= few;
      more.textContent = `Show all ${counted(found)}`;
      if (!status) return;
      status.textContent =
        matches === undefined
          ? `${counted(given.length)} in all`
          : `${counted(found)} of ${counted(given.length)}`;
    };

    more.addEventListener('click', () => {
      isWhole = true;
      show();
    });

    heads.forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const isNumber = head.classList.contains('n');
        const now = head.getAttribute('aria-sort');
        const isUp = now === null ? !isNumber : now === 'descending';
        for (const other of heads) other.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', isUp ? 'ascending' : 'descending');
        const sign = isUp ? 1 : -1;
        const keyed = given.map((row) => {
          const cell = row.cells[column];
          const value = cell?.querySelector('data')?.value;
          return {
            row,
            text: cell?.textContent ?? '',
            number: value === undefined ? NaN : Number(value),
          };
        });
        keyed.sort((a, b) => {
          if (!isNumber) return sign * collator.compare(a.text, b.text);
          // What has no amount stands last either way.
          if (Number.isNaN(a.number) || Number.isNaN(b.number))
            return Number(Number.isNaN(a.number)) - Number(Number.isNaN(b.number));
          return sign * (a.number - b.number);
        });
        rows = keyed.map(({ row }) => row);
        body.replaceChildren(...rows);
        show();
      });
    });

    if (find && input) {
      const texts = new Map<HTMLTableRowElement, string>();
      const textOf = (row: HTMLTableRowElement): string => {
        const known = texts.get(row);
        if (known !== undefined) return known;
        const cells = [...row.querySelectorAll('th, td:not(.n)')].map((cell) => cell.textContent);
        // Of a customer with several accounts, their ids.
        const text = fold([...cells, row.dataset['words'] ?? ''].join(' '));
        texts.set(row, text);
        return text;
      };
      input.addEventListener('input', () => {
        const words = fold(input.value)
          .split(/\s+/)
          .filter((word) => word !== '');
        matches =
          words.length === 0
            ? undefined
            : (row) => words.every((word) => textOf(row).includes(word));
        show();
      });
      find.hidden = false;
    }
    show();
  }

  // As in many tables on the web, a slash goes to the first search.
  const first = document.querySelector<HTMLInputElement>('[data-finds] input');
  document.addEventListener('keydown', (event) => {
    const isTyping = event.target instanceof HTMLInputElement;
    if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (first === null) return;
    event.preventDefault();
    first.focus();
    first.scrollIntoView({ block: 'center' });
  });

  for (const button of document.querySelectorAll<HTMLButtonElement>('button.exact')) {
    button.hidden = false;
    button.addEventListener('click', () => {
      const isExact = button.getAttribute('aria-pressed') === 'true';
      button.setAttribute('aria-pressed', String(!isExact));
      for (const amount of document.querySelectorAll<HTMLDataElement>('data[title]')) {
        const { title, textContent } = amount;
        amount.title = textContent;
        amount.textContent = title;
      }
    });
  }
}

/** The script as it stands in each file. */
export const script = `(${enhance.toString().replace(/^\s+/gm, '')})(${FEW_ROWS})`;
