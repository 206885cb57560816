import { isObject, refused } from '../jwt/fields.ts'

/** It is copied into every token. */
const MOST_CHARACTERS = 4_096

/**
 * What a secret id says of its holder: an object of texts, the same as JSON, that in base64, or `key=value` pairs with
 * commas between. Throws the dialect's refusal, which repeats no value.
 */
export function readMetadata(sent: unknown): Record<string, string> {
  const map = asMap(sent)
  if (!map) throw unreadable('it must be a JSON object of texts, or key=value pairs')
  const metadata = Object.entries(map).map(([key, value]) => [key, asText(key, value)] as const)
  const text = JSON.stringify(metadata)
  if (text.length > MOST_CHARACTERS) throw unreadable(`it is longer than ${MOST_CHARACTERS} characters`)
  if (metadata.some((pair) => pair.some((part) => UNSTORABLE.test(part)))) {
    throw unreadable('it holds a NUL character or half of a character')
  }
  return Object.fromEntries(metadata)
}

const unreadable = (why: string) => refused(`failed to parse metadata: ${why}`)

/** PostgreSQL cannot keep these. */
const UNSTORABLE = /[\0\p{Cs}]/u

function asText(key: string, value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  throw unreadable(`the value of ${JSON.stringify(key.slice(0, 64))} is no text`)
}

function asMap(sent: unknown): Record<string, unknown> | undefined {
  if (sent === undefined || sent === null) return {}
  if (isObject(sent)) return sent
  if (typeof sent !== 'string') return undefined
  const text = sent.trim()
  if (text === '') return {}
  return parsed(text) ?? parsed(Buffer.from(text, 'base64').toString('utf8')) ?? pairs(text)
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function pairs(text: string): Record<string, string> | undefined {
  const map: [string, string][] = []
  for (const pair of text.split(',')) {
    const at = pair.indexOf('=')
    if (at < 1) return undefined
    map.push([pair.slice(0, at).trim(), pair.slice(at + 1).trim()])
  }
  return Object.fromEntries(map)
}
