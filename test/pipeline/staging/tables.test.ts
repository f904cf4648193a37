import test from 'ava';
import { regionOf } from '../../../pipeline/staging/tables.js';

for (const value of [
  'us-east-1',
  'us-gov-west-1',
  'eusc-de-east-1',
  'us-west-2-lax-1',
  'us-east-1-wl1-bos-wlz1',
  'qq-future-9',
])
  test(`REGION ${value} is a region`, (t) => {
    t.is(regionOf(value), value);
  });
for (const value of [
  'global',
  'NoRegion',
  'No Region',
  '',
  'Any',
  'aws-global',
  'eu-west',
  'EU-WEST-1',
  'constructor',
  'eu-west-1\n',
])
  test(`REGION ${JSON.stringify(value)} is none`, (t) => {
    t.is(regionOf(value), 'N/A');
  });
