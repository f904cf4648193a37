import type { FileMetaData, SchemaElement } from 'hyparquet';
import { DataError } from '../pipeline/errors.js';
import type { Column } from '../pipeline/staging/tables.js';
import { DECIMAL } from '../pipeline/staging/tables.js';

/** What to do about a Parquet file that is not as it should be. */
export const remake = 'make it anew with "pipeline run --stage transform --force"';

/**
 * hyparquet turns a declared DECIMAL into a float. Declared as texts, the decimals' bytes come out as they
 * are, to the parser of texts.
 */
export function withRawDecimals(metadata: FileMetaData): FileMetaData {
  const raw = ({ logical_type, ...element }: SchemaElement): SchemaElement =>
    element.type === 'FIXED_LEN_BYTE_ARRAY' &&
    (element.converted_type === 'DECIMAL' || logical_type?.type === 'DECIMAL')
      ? { ...element, converted_type: 'UTF8' }
      : { ...element, ...(logical_type === undefined ? {} : { logical_type }) };
  return { ...metadata, schema: metadata.schema.map(raw) };
}

function isDeclared(element: SchemaElement, column: Column): boolean {
  const { type, converted_type: converted, logical_type: logical } = element;
  switch (column.type) {
    case 'string':
      return type === 'BYTE_ARRAY' && (converted === 'UTF8' || logical?.type === 'STRING');
    case 'decimal':
      return (
        type === 'FIXED_LEN_BYTE_ARRAY' &&
        element.type_length === 16 &&
        element.scale === DECIMAL.scale
      );
    case 'date':
      return type === 'INT32' && converted === 'DATE';
    case 'timestamp':
      return (
        type === 'INT64' &&
        (converted === 'TIMESTAMP_MILLIS' ||
          (logical?.type === 'TIMESTAMP' && logical.unit === 'MILLIS'))
      );
    case 'boolean':
      return type === 'BOOLEAN';
  }
}

/** @throws {DataError} when the file's columns are not the declared ones. */
export function checkSchema(
  metadata: FileMetaData,
  columns: readonly Column[],
  where: string,
): void {
  const elements = metadata.schema.slice(1);
  const wrong = columns.find((column, index) => {
    const element = elements[index];
    return element?.name !== column.name || !isDeclared(element, column);
  });
  if (wrong === undefined && elements.length === columns.length) return;
  const fault = wrong === undefined ? 'it has more columns' : `its column ${wrong.name} differs`;
  throw new DataError(`the Parquet file is not of this version's standard profile: ${fault}`, {
    where,
    next: remake,
  });
}
