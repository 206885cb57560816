/** What the broker answered instead of what was asked: its words, for people, and its data, for pages. */
export class ApiError extends Error {
  /** 0: no answer at all. */
  readonly status: number
  readonly texts: readonly string[]
  readonly data: Readonly<Record<string, unknown>>
  readonly retryAfterSeconds: number | undefined
  readonly requestId: string | undefined

  constructor(
    status: number,
    texts: readonly string[],
    more: { data?: Record<string, unknown>; retryAfterSeconds?: number; requestId?: string } = {},
  ) {
    super(texts.join('; ') || wordsOfStatus(status))
    this.name = 'ApiError'
    this.status = status
    this.texts = texts
    this.data = more.data ?? {}
    this.retryAfterSeconds = more.retryAfterSeconds
    this.requestId = more.requestId
  }
}

/** The sentences in the text of an error; several of them may stand in Go's multierror form. */
function sentencesOf(text: string): string[] {
  const listed = [...text.matchAll(/^\s*\*\s+(.+)$/gm)].map(([, sentence]) => (sentence as string).trim())
  const plain = text.trim()
  if (listed.length > 0) return listed
  return plain === '' ? [] : [plain]
}

/** The error in the body of an answer; a body of any other shape leaves the status to speak. */
export function errorFrom(
  status: number,
  body: unknown,
  headers: { get(name: string): string | null },
): ApiError {
  const { errors, data } = (body ?? {}) as { errors?: unknown; data?: unknown }
  const texts = Array.isArray(errors) ? errors.filter((text) => typeof text === 'string') : []
  const after = Number(headers.get('Retry-After') ?? Number.NaN)
  return new ApiError(status, texts.flatMap(sentencesOf), {
    ...(data && typeof data === 'object' ? { data: data as Record<string, unknown> } : {}),
    ...(Number.isFinite(after) ? { retryAfterSeconds: after } : {}),
    ...(headers.get('Leasehold-Request-Id')
      ? { requestId: headers.get('Leasehold-Request-Id') as string }
      : {}),
  })
}

/** What to tell a person where the answer has no words of its own. */
function wordsOfStatus(status: number): string {
  if (status === 0) return 'No answer from the server'
  if (status === 401) return 'Your session is over'
  if (status === 403) return 'Your policies do not allow this'
  if (status === 404) return 'There is nothing here, or it is not yours to see'
  if (status === 409) return 'Somebody else was faster'
  if (status === 429) return 'Too many requests'
  if (status === 503) return 'The server cannot do this now'
  return `The server answered ${status}`
}
