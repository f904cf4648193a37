import test from 'ava';
import { nearest } from '../../../pipeline/shared/nearest.js';

const flags = ['stage', 'month', 'organization', 'database', 'timeout', 's3-sse', 'max-requests'];

test('a word is known by its beginning, its plural, a slip of the finger, other capitals or hyphens', (t) => {
  for (const [word, meant] of [
    ['org', 'organization'],
    ['organisation', 'organization'],
    ['orgnization', 'organization'],
    ['organizations', 'organization'],
    ['months', 'month'],
    ['mounth', 'month'],
    ['satge', 'stage'],
    ['maxRequests', 'max-requests'],
    ['max_request', 'max-requests'],
    ['Database', 'database'],
    ['s3sse', 's3-sse'],
  ] as const)
    t.is(nearest(word, flags), meant, word);
});

test('what is near to nothing is told as nothing', (t) => {
  for (const word of ['colour', 'x', '', 'verbose', 'year', '株式会社'])
    t.is(nearest(word, flags), undefined, word);
});

test('a word that is there whole comes before one that a slip makes of it', (t) => {
  t.is(nearest('rune', ['prune', 'run']), 'run');
  t.is(nearest('prun', ['run', 'prune']), 'prune');
});
