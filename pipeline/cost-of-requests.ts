import type { TaskReport } from './task.js';

/** Cents that AWS charges for one answer of Cost Explorer (AWS Cost Management pricing page). */
const CENTS_PER_REQUEST = 1;

/** Answers of Cost Explorer that the tasks brought. */
export function requestsOf(tasks: readonly Pick<TaskReport, 'requests'>[]): number {
  return tasks.reduce((sum, { requests }) => sum + requests, 0);
}

/** Dollars that AWS charges for so many requests to Cost Explorer, with two digits. */
export function price(requests: number): string {
  const cents = requests * CENTS_PER_REQUEST;
  return `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
}

/** The same in words: `23 Cost Explorer requests, $0.23`. */
export function costOf(tasks: readonly Pick<TaskReport, 'requests'>[]): string {
  const requests = requestsOf(tasks);
  return `${requests} Cost Explorer requests, $${price(requests)}`;
}
