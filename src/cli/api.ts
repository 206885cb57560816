/** The broker as a client sees it: the commands speak HTTP, like everyone. */
export type Api = {
  url: string
  token: string
  /** The parsed answer, undefined when there is no body. Throws an `ApiError` for any status of 400 and above. */
  ask(method: 'GET' | 'PUT', path: string, body?: object): Promise<Answer | undefined>
}

/** The parts of the envelope that the commands read. */
export type Answer = {
  lease_id: string
  lease_duration: number
  data: Record<string, unknown> | null
  leasehold?: { expires_at: string }
}

export class ApiError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.name = 'ApiError'
    this.status = status
  }
}

const ANSWER_TIMEOUT_MS = 60_000

export function openApi(url: string, token: string): Api {
  return {
    url,
    token,
    async ask(method, path, body) {
      const text = await get(`${url}/v1/${path}`, {
        method,
        headers: { 'X-Vault-Token': token, 'X-Vault-Request': 'true' },
        ...(body && { body: JSON.stringify(body) }),
      })
      return text === '' ? undefined : (JSON.parse(text) as Answer)
    },
  }
}

/** The body of an answer. Throws a sentence that names the address when there is none. */
export async function get(
  url: string,
  init: RequestInit = {},
  timeoutMs = ANSWER_TIMEOUT_MS,
): Promise<string> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(timeoutMs) }).catch((error) => {
    throw new Error(`${url} does not answer: ${reasonOf(error)}`)
  })
  const text = await response.text()
  if (response.status >= 400) throw new ApiError(response.status, `${response.status} ${errorsIn(text)}`)
  return text
}

/** What `fetch` throws says "fetch failed"; the reason is below it. */
function reasonOf(error: Error): string {
  const cause = error.cause as { code?: string; message?: string } | undefined
  return cause?.message || cause?.code || error.message
}

function errorsIn(body: string): string {
  try {
    return (JSON.parse(body).errors as string[]).join('; ').replace(/\s+/g, ' ').trim()
  } catch {
    return ''
  }
}
