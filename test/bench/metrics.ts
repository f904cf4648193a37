import type { CostMetric } from '../../fixtures/demo/model.js';

/** The metrics that the staged pages hold, and the columns that show them: those of a run without flags. */
const columns: ReadonlyMap<string, CostMetric> = new Map([['Amount', 'UnblendedCost']]);

/** The metric that a column of consumption holds, if it holds one. */
export function metricOf(column: string): CostMetric | undefined {
  return columns.get(column);
}

export const metrics: readonly CostMetric[] = [...columns.values()];
