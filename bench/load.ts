/** What a slice of load showed. Slices of one measurement are joined before anything is computed of them. */
export type Sample = { ms: number; latenciesMs: number[] }

export const emptySample = (): Sample => ({ ms: 0, latenciesMs: [] })

export function join(into: Sample, slice: Sample): void {
  into.ms += slice.ms
  for (const latency of slice.latenciesMs) into.latenciesMs.push(latency)
}

/** `clients` loops side by side, each beginning its next call when the last has answered; answers how it went. */
export async function loop(
  clients: number,
  until: { forMs?: number; calls?: number },
  call: (client: number) => Promise<unknown>,
): Promise<Sample> {
  const latenciesMs: number[] = []
  const startedAt = performance.now()
  const endsAt = startedAt + (until.forMs ?? Number.POSITIVE_INFINITY)
  let left = until.calls ?? Number.POSITIVE_INFINITY
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let now = performance.now(); now < endsAt && left > 0; ) {
        left -= 1
        await call(client)
        const answeredAt = performance.now()
        latenciesMs.push(answeredAt - now)
        now = answeredAt
      }
    }),
  )
  return { ms: performance.now() - startedAt, latenciesMs }
}

export const perSecond = ({ ms, latenciesMs }: Sample): number => (latenciesMs.length / ms) * 1_000

/** The value that this share of all values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

export const median = (values: readonly number[]): number => percentile(values, 0.5)
