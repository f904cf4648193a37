import { describeError } from '../errors.js';
import type { Estimate } from './estimate.js';
import type { SlicePlan, StagePlan } from './plan.js';
import { price } from '../cost-of-requests.js';
import { errorToJson, formatTable } from '../report.js';
import type { Stage } from '../selection.js';
import { stages } from '../selection.js';

/** Everything that a run would ask for; known only when all of it is. */
function totalOf(slices: readonly SlicePlan[]): Estimate {
  return {
    requests: slices.reduce((sum, { estimate }) => sum + estimate.requests, 0),
    further: slices.reduce((sum, { estimate }) => sum + estimate.further, 0),
    known: slices.every(({ estimate }) => estimate.known),
  };
}

/** What a run would do, as people read it. */
export function formatPlan(
  slices: readonly SlicePlan[],
  chosen: readonly Stage[],
  notes: readonly string[],
): string {
  const rows = slices.map(({ month, organization, stages: plans, estimate }) => [
    month,
    organization,
    ...chosen.map((stage) => actionText(plans[stage])),
    `${estimate.known ? '' : 'unknown, '}${boundsText(estimate, String)}`,
    boundsText(estimate, (requests) => `$${price(requests)}`),
  ]);
  const head = ['month', 'organization', ...chosen, 'requests', 'price'];
  const total = totalOf(slices);
  const reasons = slices.flatMap((slice) =>
    stages.flatMap((stage) => {
      const plan = slice.stages[stage];
      return plan?.error === undefined
        ? []
        : [
            `${slice.month} ${slice.organization} ${stage} ${plan.action === 'fails' ? 'would fail' : 'is unknown'}: ${describeError(plan.error)}`,
          ];
    }),
  );
  return [
    formatTable(head, rows, ['requests', 'price']),
    '',
    `total: ${total.known ? '' : 'at least '}${total.requests} Cost Explorer requests, $${price(total.requests)}${mostText(total)}`,
    ...notes.flatMap((note) => ['', `note: ${note}`]),
    ...reasons.flatMap((reason) => ['', reason]),
  ].join('\n');
}

/** The same as one JSON document. */
export function planToJson(slices: readonly SlicePlan[], notes: readonly string[]): unknown {
  return {
    ...estimateJson(totalOf(slices)),
    ...(notes.length === 0 ? {} : { notes }),
    slices: slices.map(({ month, organization, stages: plans, estimate }) => ({
      month,
      organization,
      ...estimateJson(estimate),
      stages: Object.fromEntries(
        Object.entries(plans).map(([stage, { error, ...plan }]) => [
          stage,
          { ...plan, ...(error === undefined ? {} : { error: errorToJson(error) }) },
        ]),
      ),
    })),
  };
}

/** `4, at most 5`: where AWS's total differs from the rows, AWS is asked which services make that. */
function boundsText({ requests, further, known }: Estimate, text: (of: number) => string): string {
  if (!known) return `at least ${text(requests)}`;
  return further === 0 ? text(requests) : `${text(requests)}, at most ${text(requests + further)}`;
}

function mostText({ requests, further, known }: Estimate): string {
  if (!known || further === 0) return '';
  const most = requests + further;
  return `; at most ${most}, $${price(most)}, where AWS's total differs from the rows`;
}

function estimateJson({ requests, further, known }: Estimate): Record<string, unknown> {
  return {
    requests,
    requestsAtMost: known ? requests + further : null,
    requestsKnown: known,
    priceUsd: price(requests),
  };
}

function actionText(plan: StagePlan | undefined): string {
  if (plan === undefined) return '';
  if (plan.stagedPages === undefined) return plan.action;
  return `${plan.action} after page ${plan.stagedPages}`;
}
