import type { Amount, MonthFigures, StatementFigures } from './figures.js';

/**
 * The page's sums for machines, exact, as the content of `<script type="application/json">`: what a program
 * reads there is what people see.
 */
export function monthBlock({ month, state, made, currencies }: MonthFigures): string {
  return scriptText({
    ...{ month, state, made },
    currencies: currencies.map(({ currency, total, organizations, services, customers }) => ({
      currency,
      total: total.amount,
      organizations: organizations.map(({ organization, amount }) => [organization, amount]),
      services: services.map(({ service, amount }) => [service, amount]),
      customers: customers.map(({ id, amount }) => [id, amount]),
    })),
  });
}

/** The same of a statement: the customer's own sums alone. */
export function statementBlock({ month, state, made, id, currencies }: StatementFigures): string {
  return scriptText({
    ...{ month, state, made, customer: id },
    currencies: currencies.map(({ currency, total, accounts, services }) => ({
      currency,
      total: total.amount,
      accounts: accounts.map(({ account, amount }): [string, Amount] => [account, amount]),
      services: services.map(({ service, amount }): [string, Amount] => [service, amount]),
    })),
  });
}

/** JSON that no HTML parser takes for anything else (HTML standard, restrictions for contents of script elements). */
function scriptText(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
