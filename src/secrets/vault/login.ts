import { readFile } from 'node:fs/promises'
import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { SecretStoreError } from '../secret-store.ts'
import type { VaultAnswer, VaultRequest } from './request.ts'

/** How we come by a token. Files are read at each login: what is in them is rotated by others. */
export type VaultLogin =
  | { kind: 'token'; token: Sensitive }
  | { kind: 'token_file'; path: string }
  | { kind: 'approle'; authPath: string; roleId: string; secretId: Sensitive | { path: string } | undefined }
  | { kind: 'kubernetes'; authPath: string; role: string; tokenPath: string }

/** A token and how long it has, from when it was asked for. Undefined: for ever, as far as we could see. */
export type VaultToken = {
  text: Sensitive
  ttlMs: number | undefined
  renewable: boolean
  /** Made for us by a login, and so ours to make again and to give up. */
  ours: boolean
}

/** Throws a `SecretStoreError`: kind `denied` when Vault refuses, or a file of the settings cannot be read. */
export async function logIn(request: VaultRequest, login: VaultLogin): Promise<VaultToken> {
  if (login.kind === 'token') return given(request, login.token)
  if (login.kind === 'token_file') return given(request, await secretFile(login.path))
  const answer = await request(undefined, 'POST', `auth/${login.authPath}/login`, await proof(login))
  const token = tokenOf(answer)
  if (token) return token
  throw new SecretStoreError('denied', `Vault refused the login with ${login.kind}: ${answer.message}`)
}

async function proof(
  login: Extract<VaultLogin, { authPath: string }>,
): Promise<Readonly<Record<string, string>>> {
  if (login.kind === 'kubernetes') {
    return { role: login.role, jwt: (await secretFile(login.tokenPath)).reveal() }
  }
  const { roleId, secretId } = login
  if (!secretId) return { role_id: roleId }
  const text = 'path' in secretId ? await secretFile(secretId.path) : secretId
  return { role_id: roleId, secret_id: text.reveal() }
}

/** The answer to a login or a renewal; undefined when it is neither. */
export function tokenOf({ status, body }: VaultAnswer): VaultToken | undefined {
  const auth = body?.auth as Record<string, unknown> | null | undefined
  if (status !== 200 || typeof auth?.client_token !== 'string') return undefined
  return {
    text: sensitive(auth.client_token),
    ttlMs: msOf(auth.lease_duration),
    renewable: auth.renewable === true,
    ours: true,
  }
}

/** One that others made tells of itself, if it may; it is used all the same if not. */
async function given(request: VaultRequest, text: Sensitive): Promise<VaultToken> {
  const { status, body } = await request(text, 'GET', 'auth/token/lookup-self')
  const data = status === 200 ? (body?.data as Record<string, unknown> | undefined) : undefined
  return { text, ttlMs: msOf(data?.ttl), renewable: data?.renewable === true, ours: false }
}

const msOf = (seconds: unknown): number | undefined =>
  typeof seconds === 'number' && seconds > 0 ? seconds * 1_000 : undefined

async function secretFile(path: string): Promise<Sensitive> {
  try {
    return sensitive((await readFile(path, 'utf8')).trim())
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new SecretStoreError('denied', `the login for Vault cannot be read from its file (${code})`)
  }
}
