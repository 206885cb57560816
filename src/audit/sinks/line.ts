import type { StoredEvent } from '../chain.ts'

/**
 * An event as sinks get it: one line of canonical JSON, ended by a line feed. `body` is the event's own text, which is
 * JSON and was hashed as it stands. A text that is none, because somebody has edited the ledger, becomes a string: it
 * must not break out of its line.
 */
export function shippedLine({ writer, seq, at, body, hash }: StoredEvent): string {
  const text = isOneLineObject(body) ? body : JSON.stringify(body)
  return `{"at":${JSON.stringify(at)},"body":${text},"hash":${JSON.stringify(hash)},"seq":${seq},"writer":${JSON.stringify(writer)}}\n`
}

/** How every line begins: what a file must begin with to be taken for ours. */
export const LINE_START = '{"at":"'

function isOneLineObject(text: string): boolean {
  if (!text.startsWith('{') || /[\r\n\u2028\u2029]/.test(text)) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
