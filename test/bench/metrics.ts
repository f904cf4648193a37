import type { CostMetric } from '../../fixtures/demo/model.js';
import { costMetrics } from '../../fixtures/demo/model.js';
import { consumption } from '../../pipeline/staging/tables.js';

/** The column that holds UnblendedCost; the other metrics' columns have their names. */
const AMOUNT = 'Amount';

/** The metric that a column of consumption holds, if it holds one. */
export function metricOf(column: string): CostMetric | undefined {
  return column === AMOUNT ? 'UnblendedCost' : costMetrics.find((metric) => metric === column);
}

/** The metrics that consumption has columns for, and so the staged pages: UnblendedCost first. */
export const metrics: readonly CostMetric[] = costMetrics.filter((metric) =>
  consumption.some(({ name }) => metricOf(name) === metric),
);
