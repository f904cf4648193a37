import test from 'ava';
import {
  changesCommand,
  rememberOwn,
  advice,
  commandText,
  fetchAgain,
  nextRun,
  shownNext,
  subjectOf,
  transformAgain,
} from '../../../pipeline/shared/commands.js';
import { DataError, describeError } from '../../../pipeline/shared/errors.js';
import { parseMonth } from '../../../pipeline/shared/month.js';

const slice = { month: parseMonth('2026-10'), organization: 'oab' };

test('a command names its stages, flags, month and organization, as a shell reads them', (t) => {
  t.is(commandText({}), 'pipeline run');
  t.is(
    commandText(fetchAgain(slice)),
    'pipeline run --stage extract --force --month 2026-10 --organization oab',
  );
  t.is(
    commandText(nextRun(['load'], { ...slice, organization: "o'b c" })),
    `pipeline run --stage load --month 2026-10 --organization 'o'\\''b c'`,
  );
});

test("the run's own flags stand behind, but for those that the command has itself", (t) => {
  const own = ['--staging', 'a b', '--parquet', 'basic', '--no-aws-total', '--wait', '5'];
  t.is(
    commandText(nextRun(['transform'], undefined, '--parquet', 'standard'), own),
    "pipeline run --stage transform --parquet standard --staging 'a b' --no-aws-total --wait 5",
  );
  t.is(
    commandText(nextRun([], undefined, '--aws-total'), own),
    "pipeline run --aws-total --staging 'a b' --parquet basic --wait 5",
  );
});

test('advice without a month gets that of the task which it is shown for, other advice keeps its own', (t) => {
  const error = new DataError('cut short', advice('make it anew with', transformAgain()));
  t.is(error.next, 'make it anew with "pipeline run --stage transform --force"');
  t.is(
    describeError(error, subjectOf(slice)),
    'cut short; make it anew with "npx pipeline run --stage transform --force --month 2026-10 --organization oab"',
  );
  const own = advice('run', nextRun(['extract'], slice), '; then again');
  t.is(shownNext(own, { organizations: ['other'] }), own.next.replace('"', '"npx '));
  t.is(
    own.next,
    'run "pipeline run --stage extract --month 2026-10 --organization oab"; then again',
  );
  t.is(shownNext({ next: 'wait' }), 'wait');
});

test.serial(
  'what looks into the staging area has the flags that tell where it is, and no others',
  (t) => {
    rememberOwn({ flags: ['--staging', 'a b', '--detail', 'service', '--config', 'c.yaml'] });
    t.teardown(() => {
      rememberOwn({ flags: [] });
    });
    t.is(
      changesCommand(slice),
      "npx pipeline changes --month 2026-10 --organization oab --staging 'a b' --config c.yaml",
    );
  },
);
