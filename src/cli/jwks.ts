import { readFile } from 'node:fs/promises'
import type { JSONWebKeySet } from 'jose'
import { fileFault } from '../lib/file-fault.ts'
import { ApiError, get } from './api.ts'

/** The key set that `--jwks` names, a file or an address. Throws a sentence when there is none. */
export async function readKeys(place: string): Promise<JSONWebKeySet> {
  const source = await (/^https?:\/\//.test(place) ? fetched(place) : read(place))
  const keys = parsed(source) as JSONWebKeySet | undefined
  if (!Array.isArray(keys?.keys))
    throw new Error('--jwks names no JWK set, such as sys/leasehold/jwks answers')
  return keys
}

const fetched = (url: string): Promise<string> =>
  get(url).catch((error) => {
    if (!(error instanceof ApiError && error.status === 404)) throw error
    throw new Error(`--jwks: ${url} answers 404; a server has its keys at /v1/sys/leasehold/jwks`)
  })

const read = (file: string): Promise<string> =>
  readFile(file, 'utf8').catch((error) => {
    throw new Error(`--jwks: ${file} cannot be read: ${fileFault(error)}`)
  })

export function parsed(source: string): unknown {
  try {
    return JSON.parse(source)
  } catch {
    return undefined
  }
}
