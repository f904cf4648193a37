import { describeSlices } from '../shared/commands.js';
import { printable } from '../shared/printable.js';
import { shortAmount } from '../shared/table.js';
import type { RunRecord } from './record.js';
import { costInWords } from './task.js';

/** A run's record in few lines for people, as Slack and Teams take them. Texts of others may hold anything. */

/** Lines of one kind, and characters of one, that a message has room for: Teams takes 28 KB, Slack shows some 4,000 characters. */
const MOST_LINES = 6;
const LONGEST_LINE = 300;
/** Of these, what to do next may take so many: a long message is not to push it out. */
const LONGEST_STEP = 200;

interface Notice {
  /** In our own words alone. */
  title: string;
  lines: string[];
}

/** @param restated those of the record's that are to be told. */
function noticeOf(record: RunRecord, restated: RunRecord['restated']): Notice {
  const { failures, finalized, absent, runId, version } = record;
  const lines = [
    figuresLine(record),
    ...some(failures, ({ month, organization, stage, message, where, next }) => {
      const what = [month, organization, stage].filter((part) => part !== undefined).join(' ');
      const place = where === undefined ? '' : ` [${where}]`;
      const step = next === undefined ? '' : `; ${shortened(harmless(next), LONGEST_STEP)}`;
      const failure = harmless(`${what === '' ? '' : `${what} `}failed: ${message}${place}`);
      return `${shortened(failure, LONGEST_LINE - Array.from(step).length)}${step}`;
    }),
    ...some(restated, ({ month, organization, changed, provisionalAgain, before, after }) => {
      const sums = Object.entries(after).map(([currency, sum]) => {
        return `${shortAmount(before[currency] ?? '0')} → ${shortAmount(sum)} ${currency}`;
      });
      const what = [
        ...(changed === 0
          ? []
          : [`restated, ${changed === 1 ? '1 amount differs' : `${changed} amounts differ`}`]),
        ...(provisionalAgain ? ['provisional again'] : []),
      ];
      return `${month} ${organization} ${what.join('; ')}: ${sums.join(', ')}`;
    }),
    ...(finalized.length === 0 ? [] : [`final now: ${describeSlices(finalized)}`]),
    ...(absent.length === 0 ? [] : [`nothing is there of: ${describeSlices(absent)}`]),
    `run ${runId}, version ${version}`,
  ];
  return { title: titleOf(record), lines: lines.map(harmless) };
}

function titleOf({ outcome, months }: RunRecord): string {
  const [first = '', last = first] = [months[0], months.at(-1)];
  const period = months.length < 3 ? months.join(', ') : `${first} … ${last}`;
  const end = { ok: 'done', failed: 'failed', interrupted: 'was interrupted' }[outcome];
  return `AWS billing run ${end}${period === '' ? '' : `: ${period}`}`;
}

function figuresLine({ tasks, amounts, requests, seconds }: RunRecord): string {
  const counts = Object.entries(tasks).filter(([, count]) => count > 0);
  const sums = Object.entries(amounts).map(([currency, sum]) => `${shortAmount(sum)} ${currency}`);
  return [
    counts.map(([state, count]) => `${count} ${state}`).join(', '),
    sums.join(', '),
    costInWords(requests),
    `${seconds.toFixed(1)} s`,
  ]
    .filter((part) => part !== '')
    .join('; ');
}

function some<T>(all: readonly T[], line: (one: T) => string): string[] {
  const left = all.length - MOST_LINES;
  const lines = all.slice(0, MOST_LINES).map(line);
  return left > 0 ? [...lines, `and ${left} more of these`] : lines;
}

/** One line, printable, and not too long; no character is cut in two. A record holds no secret. */
function harmless(line: string): string {
  const characters = Array.from(printable(line.replaceAll(/\s+/g, ' ')));
  if (characters.length <= LONGEST_LINE) return characters.join('');
  return `${characters.slice(0, LONGEST_LINE - 1).join('')}…`;
}

function shortened(text: string, longest: number): string {
  const characters = Array.from(text);
  return characters.length <= longest ? text : `${characters.slice(0, longest - 1).join('')}…`;
}

/**
 * The body for an incoming webhook of Slack. `&`, `<` and `>` are what Slack makes mentions, channels and links of, and
 * escaped as it asks for (Slack, "Formatting text for app surfaces", escaping text); `mrkdwn: false` leaves `*`, `_`,
 * `~` and backticks as they are, so that a command can be pasted; no address in the text is unfolded.
 */
export function slackBody(record: RunRecord, restated: RunRecord['restated']): string {
  const { title, lines } = noticeOf(record, restated);
  const text = [title, ...lines]
    .join('\n')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
  return JSON.stringify({ text, mrkdwn: false, unfurl_links: false, unfurl_media: false });
}

/**
 * The body for a workflow of Teams that begins when a webhook request is received: a message with an Adaptive Card.
 * A TextBlock would read its text as Markdown; a TextRun shows it as it is (Adaptive Cards, "Text features").
 */
export function teamsBody(record: RunRecord, restated: RunRecord['restated']): string {
  const { title, lines } = noticeOf(record, restated);
  const run = (text: string, look: object = {}): object => ({
    type: 'RichTextBlock',
    inlines: [{ type: 'TextRun', text, ...look }],
  });
  const color = record.outcome === 'ok' ? 'Good' : 'Attention';
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.2',
    fallbackText: title,
    msteams: { width: 'Full' },
    body: [
      run(title, { weight: 'Bolder', size: 'Medium', color }),
      ...lines.map((line) => run(line)),
    ],
  };
  const contentType = 'application/vnd.microsoft.card.adaptive';
  return JSON.stringify({
    type: 'message',
    attachments: [{ contentType, contentUrl: null, content }],
  });
}
