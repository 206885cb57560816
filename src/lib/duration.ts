const UNIT_SECONDS: Record<string, number> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3_600,
  d: 86_400,
}

/** Larger than any TTL anyone means; keeps `now + ttl` inside what PostgreSQL and Date can hold. */
const MAX_SECONDS = 100 * 365 * 86_400

/**
 * Whole seconds from any form the dialect takes: 90, "90", "1h30m", "2d", "1.5h"; "" is 0; fractions are cut.
 * Undefined for anything else: negative, unknown unit, beyond a hundred years.
 */
export function parseDuration(value: string | number): number | undefined {
  const seconds = typeof value === 'number' ? value : parseText(value.trim())
  if (seconds === undefined || !Number.isFinite(seconds) || seconds < 0 || seconds > MAX_SECONDS)
    return undefined
  return Math.trunc(seconds)
}

function parseText(text: string): number | undefined {
  if (text === '') return 0
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d))+$/.test(text)) return undefined
  let seconds = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g)) {
    seconds += Number(amount) * (UNIT_SECONDS[unit as string] as number)
  }
  return seconds
}

/** Go's form without its trailing zero units, as the dialect's warnings print it: 5400 is "1h30m". */
export function formatDuration(seconds: number): string {
  const whole = Math.trunc(seconds)
  const parts: [number, string][] = [
    [Math.floor(whole / 3_600), 'h'],
    [Math.floor((whole % 3_600) / 60), 'm'],
    [whole % 60, 's'],
  ]
  // Go prints the units between the first and the last that are not zero: "1h0m5s".
  const first = parts.findIndex(([amount]) => amount > 0)
  const last = parts.findLastIndex(([amount]) => amount > 0)
  if (first < 0) return '0s'
  return parts
    .slice(first, last + 1)
    .map(([amount, unit]) => `${amount}${unit}`)
    .join('')
}
