import type { SchemaElement } from 'hyparquet';
import type { Column } from '../pipeline/staging/tables.js';
import { DECIMAL } from '../pipeline/staging/tables.js';
import { WIDTH } from './decimals.js';

/** The root of a table's schema, then its columns. */
export function schemaOf(columns: readonly Column[]): SchemaElement[] {
  return [{ name: 'root', num_children: columns.length }, ...columns.map(schemaElement)];
}

/** Both the logical type and its older converted type are written: old readers know only the latter. */
export function schemaElement({ name, type, nullable = false }: Column): SchemaElement {
  const base = { name, repetition_type: nullable ? 'OPTIONAL' : 'REQUIRED' } as const;
  switch (type) {
    case 'string':
      return {
        ...base,
        type: 'BYTE_ARRAY',
        converted_type: 'UTF8',
        logical_type: { type: 'STRING' },
      };
    case 'decimal':
      return {
        ...base,
        ...DECIMAL,
        type: 'FIXED_LEN_BYTE_ARRAY',
        // 16 bytes hold 38 digits: 10^38 < 2^127.
        type_length: WIDTH,
        converted_type: 'DECIMAL',
        logical_type: { type: 'DECIMAL', ...DECIMAL },
      };
    case 'date':
      return { ...base, type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } };
    case 'timestamp':
      return {
        ...base,
        type: 'INT64',
        converted_type: 'TIMESTAMP_MILLIS',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' },
      };
    case 'boolean':
      return { ...base, type: 'BOOLEAN' };
  }
}
