import { parseMonth } from '../../pipeline/shared/month.js';

/** The month that is generated, and the name of its extraction: after the month's provisional days. */
export const month = parseMonth('2026-10');
export const extraction = '20261115T020304Z';
