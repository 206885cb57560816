import { SecretStoreError } from '../secret-store.ts'
import { logIn, tokenOf, type VaultLogin, type VaultToken } from './login.ts'
import type { VaultAnswer, VaultRequest } from './request.ts'

/** Requests under a token that is kept alive: renewed at two thirds of its time, and got anew when it has ended. */
export type VaultSession = {
  /** As `VaultRequest`. Answers 403 only when it is for want of a right, and not of a living token. */
  ask(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: Readonly<Record<string, unknown>>,
  ): Promise<VaultAnswer>
  /** Gives up a token that a login made for us. */
  close(): Promise<void>
}

/** Of what a token has left, when it is renewed; and tried again when that did not work. */
const RENEW_AFTER = 2 / 3
const RETRY_AFTER = 1 / 3
const SHORTEST_WAIT_MS = 500
/** A timer for longer would fire at once. */
const LONGEST_WAIT_MS = 2 ** 31 - 1

type Held = { token: VaultToken; endsAtMs: number }

export function vaultSession(request: VaultRequest, login: VaultLogin): VaultSession {
  let current: Promise<Held> | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const later = (ms: number, work: () => void): void => {
    clearTimeout(timer)
    if (!closed) timer = setTimeout(work, Math.min(Math.max(ms, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)).unref()
  }

  const held = (token: VaultToken): Held => {
    const ends: Held = { token, endsAtMs: performance.now() + (token.ttlMs ?? Number.POSITIVE_INFINITY) }
    // One that nobody can renew is given up a little before its end, so that no request meets it.
    if (token.ttlMs !== undefined) later(token.ttlMs * RENEW_AFTER, () => void renew(ends))
    return ends
  }

  const drop = (stale: Held): void => {
    void current?.then((now) => {
      if (now === stale) current = undefined
    })
  }

  const renew = async (stale: Held): Promise<void> => {
    try {
      const fresh = stale.token.renewable
        ? tokenOf(await request(stale.token.text, 'POST', 'auth/token/renew-self', {}))
        : undefined
      const worthwhile = (fresh?.ttlMs ?? 0) > (stale.token.ttlMs ?? 0) / 2
      // Near its longest life a token is given ever less: then a login makes a better one.
      if (fresh && (worthwhile || !stale.token.ours)) {
        current = Promise.resolve(held({ ...fresh, ours: stale.token.ours }))
      } else {
        drop(stale)
      }
    } catch {
      // Vault does not answer: there is time left to try again.
      const leftMs = stale.endsAtMs - performance.now()
      if (leftMs > 0) later(leftMs * RETRY_AFTER, () => void renew(stale))
      else drop(stale)
    }
  }

  const start = (): Promise<Held> => {
    if (closed) throw new SecretStoreError('unreachable', 'the connection to Vault is closed')
    current ??= logIn(request, login).then(held, (error) => {
      current = undefined
      throw error
    })
    return current
  }

  return {
    async ask(method, path, body) {
      const first = await start()
      const answer = await request(first.token.text, method, path, body)
      if (answer.status !== 403) return answer
      const self = await request(first.token.text, 'GET', 'auth/token/lookup-self')
      if (self.status === 200) return answer
      drop(first)
      await current
      const second = await start()
      return request(second.token.text, method, path, body)
    },

    async close() {
      closed = true
      clearTimeout(timer)
      const last = await current?.catch(() => undefined)
      if (!last?.token.ours) return
      await request(last.token.text, 'POST', 'auth/token/revoke-self', {}).catch(() => {}) // it ends by itself
    },
  }
}
