/**
 * PostgreSQL answers a query's rows as one JSON text. Of hundreds of thousands of rows, what the driver makes of each
 * (a message, its fields, their parsers) is most of the memory they take.
 */
export const packed = (query: string): string => `SELECT json_agg(row) AS rows FROM (${query}) AS row`

/** The rows of a query that was `packed`; times come as text. */
export const unpacked = <Row>(answer: { rows: unknown[] } | undefined): Row[] =>
  (answer?.rows[0] as { rows: Row[] | null } | undefined)?.rows ?? []
