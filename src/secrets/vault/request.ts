import { readFile } from 'node:fs/promises'
import type nodeVault from 'node-vault'
import type { Sensitive } from '../../lib/sensitive.ts'
import { answered } from '../asking.ts'
import { SecretStoreError } from '../secret-store.ts'

/** What Vault said, whatever its status; `message` is its own first error, or the status. */
export type VaultAnswer = { status: number; body: Record<string, unknown> | undefined; message: string }

/**
 * One request, with this token or none. Throws kind `unreachable` for what is no answer of a working Vault: nothing, one
 * too late, 429 or 5xx, which sealed and overloaded ones give. No error has the driver's as its cause: that
 * holds the request, and the request the token.
 */
export type VaultRequest = (
  token: Sensitive | undefined,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: Readonly<Record<string, unknown>>,
) => Promise<VaultAnswer>

export type VaultAddress = {
  address: string
  namespace: string | undefined
  /** A PEM file; the system's authorities when undefined. */
  ca: string | undefined
}

export function vaultRequests(at: VaultAddress, timeoutMs: number): VaultRequest {
  let opening: Promise<nodeVault.client> | undefined
  const client = (): Promise<nodeVault.client> => {
    opening ??= open(at).catch((error) => {
      opening = undefined
      throw error
    })
    return opening
  }

  return async (token, method, path, json) => {
    const { request } = await client()
    const options = {
      path: `/${path.split('/').map(encodeURIComponent).join('/')}`,
      method,
      ...(json && { json }),
      headers: { ...(token && { 'X-Vault-Token': token.reveal() }) },
      timeout: timeoutMs,
    }
    const answer = await answered('Vault', request(options).then(succeeded, failed), timeoutMs)
    if (answer.status === 429 || answer.status >= 500 || answer.status === 0) {
      throw new SecretStoreError('unreachable', `Vault does not answer as it should: ${answer.message}`)
    }
    return answer
  }
}

/** Whatever node-vault would take from the environment is ours to say. */
async function open({ address, namespace, ca }: VaultAddress): Promise<nodeVault.client> {
  const { default: vault } = await import('node-vault')
  const client = vault({
    endpoint: address,
    requestOptions: { strictSSL: true, ...(ca !== undefined && { ca: await authority(ca) }) },
    // Its own would print requests with the secrets in them under DEBUG=node-vault.
    debug: () => {},
  })
  return Object.assign(client, { token: '', namespace: namespace ?? '', pathPrefix: '' })
}

async function authority(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new SecretStoreError('denied', `the authority of Vault cannot be read from its file (${code})`)
  }
}

const succeeded = (body: unknown): VaultAnswer => ({
  status: 200,
  body: objectOf(body),
  message: 'Status 200',
})

function failed(error: unknown): VaultAnswer {
  const { response, message } = error as {
    response?: { statusCode: number; body: unknown }
    message?: unknown
  }
  return {
    status: response?.statusCode ?? 0,
    body: objectOf(response?.body),
    message: String(message).slice(0, MESSAGE_LIMIT),
  }
}

const MESSAGE_LIMIT = 300

const objectOf = (body: unknown): VaultAnswer['body'] =>
  typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : undefined
