/** Off by more than this, the server's time is taken as it is: it was set, or this machine has slept. */
const JUMP_MS = 2_000

export type ServerClock = {
  /** The server just said that it is `now` (RFC 3339). */
  learn(now: string): void
  /** Its time now, in milliseconds since 1970. */
  now(): number
}

/**
 * The server's time on a machine whose own clock may be wrong: what it last said, plus what a steady clock counted since.
 * An answer is always a little old when it arrives, so of two close readings the later time is the truer one.
 */
export function makeServerClock(steadyMs: () => number, wallMs: () => number): ServerClock {
  let ahead: number | undefined
  return {
    learn(text) {
      const said = Date.parse(text)
      if (Number.isNaN(said)) return
      const heard = said - steadyMs()
      ahead = ahead !== undefined && Math.abs(heard - ahead) < JUMP_MS ? Math.max(heard, ahead) : heard
    },
    now: () => (ahead === undefined ? wallMs() : ahead + steadyMs()),
  }
}

export const serverClock = makeServerClock(
  () => performance.now(),
  () => Date.now(),
)

/** Whole seconds from `now` (ms) until a time; 0 once it has passed; undefined where there is no such time. */
export function secondsUntil(at: string | null | undefined, now: number): number | undefined {
  const due = at ? Date.parse(at) : Number.NaN
  return Number.isNaN(due) ? undefined : Math.max(0, Math.ceil((due - now) / 1_000))
}

/** "4:05", "1:04:05", "3 days": what is left, to the second where seconds count. */
export function countdownText(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400)} days`
  const two = (value: number) => String(value).padStart(2, '0')
  const [hours, minutes, rest] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60]
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

/** "30 minutes", "1 hour 30 minutes", "45 seconds": a length of time, for sentences. */
export function durationWords(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'day'],
    [Math.floor(seconds / 3_600) % 24, 'hour'],
    [Math.floor(seconds / 60) % 60, 'minute'],
    [Math.floor(seconds) % 60, 'second'],
  ]
  const said = parts
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}${amount === 1 ? '' : 's'}`)
  return said.length > 0 ? said.slice(0, 2).join(' ') : 'no time'
}
