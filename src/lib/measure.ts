/**
 * Runs work, and takes down how it ended and how long it took. The work says which engine and which target it is
 * on, once it knows. Answers and throws what the work does.
 */
export type Measure = <T>(work: (on: (engine: string, target?: string) => void) => Promise<T>) => Promise<T>

/** For where nobody keeps count. */
export const unmeasured: Measure = (work) => work(() => {})
