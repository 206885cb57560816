import { ApiError, errorFrom } from './api-error.ts'
import { serverClock } from './clock.ts'

export type Query = Readonly<Record<string, string | number | boolean | null | undefined>>
export type Ask = {
  method?: 'GET' | 'LIST' | 'POST' | 'PUT' | 'DELETE'
  /** Left out where empty: a filter that is not set is not sent. */
  query?: Query
  body?: unknown
  /** Asking again with the same key answers for the first ask. */
  idempotencyKey?: string
  signal?: AbortSignal
}

let signedOut = () => {}

/** Called for each answer that says the session is over. */
export function onSignedOut(listener: () => void): void {
  signedOut = listener
}

/** The `data` of an answer of the API: `path` as after `/v1/`. Throws `ApiError` with the server's words. */
export async function ask<T>(path: string, options: Ask = {}): Promise<T> {
  const answer = await send<{ data: T }>(`/ui/v1/${path}`, options)
  return answer?.data as T
}

/** The `data` of an ask that has a page of its own, under `/ui/session`. Throws `ApiError`. */
export const askSession = <T>(path: string, options: Ask = {}): Promise<T> =>
  send<T>(`/ui/session${path}`, options)

async function send<T>(
  url: string,
  { method = 'GET', query, body, idempotencyKey, signal }: Ask,
): Promise<T> {
  const response = await fetch(`${url}${queryText(query)}`, {
    method,
    credentials: 'same-origin',
    headers: {
      'Leasehold-Console': '1',
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...(idempotencyKey !== undefined && { 'Leasehold-Idempotency-Key': idempotencyKey }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  }).catch((error: unknown) => {
    if (signal?.aborted) throw error
    throw new ApiError(0, [])
  })
  const answer = await bodyOf(response)
  if (!response.ok) {
    if (response.status === 401) signedOut()
    throw errorFrom(response.status, answer, response.headers)
  }
  learnTime(answer)
  return answer as T
}

export function queryText(query: Query = {}): string {
  const set = Object.entries(query).filter(
    ([, value]) => value !== undefined && value !== null && value !== '',
  )
  const text = new URLSearchParams(
    set.map(([name, value]): [string, string] => [name, String(value)]),
  ).toString()
  return text === '' ? '' : `?${text}`
}

async function bodyOf(response: Response): Promise<unknown> {
  const text = await response.text().catch(() => '')
  if (text === '') return null
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** Most answers say what time the server has; countdowns run by it. */
function learnTime(answer: unknown): void {
  const { now, data } = (answer ?? {}) as { now?: unknown; data?: { now?: unknown } | null }
  const said = now ?? data?.now
  if (typeof said === 'string') serverClock.learn(said)
}
