/** A JSON document as its writer left it; who reads it checks it. */
export type Document = Readonly<Record<string, unknown>>

/** A LIKE pattern for texts that begin with exactly `prefix`. */
export const startingWith = (prefix: string): string => `${prefix.replace(/[\\%_]/g, '\\$&')}%`
