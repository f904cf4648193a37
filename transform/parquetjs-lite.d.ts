/** What this project uses of parquetjs-lite, which comes without types. */
declare module 'parquetjs-lite' {
  interface Field {
    type: 'UTF8' | 'DOUBLE' | 'DATE' | 'TIMESTAMP_MILLIS' | 'BOOLEAN';
    optional?: boolean;
    compression?: 'UNCOMPRESSED' | 'GZIP' | 'SNAPPY';
    statistics?: boolean;
  }

  /** The three calls of a stream that the writer makes. */
  interface Sink {
    write(bytes: Buffer, done: (error?: Error) => void): void;
    end(done: (error?: Error) => void): void;
  }

  interface Options {
    /** Rows. */
    rowGroupSize?: number;
    useDataPageV2?: boolean;
    pageIndex?: boolean;
  }

  interface Writer {
    /** Rejects with a string, not an Error, on a value that the field cannot hold. */
    appendRow(row: Readonly<Record<string, unknown>>): Promise<void>;
    close(): Promise<void>;
  }

  const parquetjs: {
    ParquetSchema: new (fields: Record<string, Field>) => object;
    ParquetWriter: {
      openStream(schema: object, sink: Sink, options?: Options): Promise<Writer>;
    };
  };
  export default parquetjs;
}
