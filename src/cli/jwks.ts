import { readFile } from 'node:fs/promises'
import type { JSONWebKeySet } from 'jose'
import { get } from './api.ts'

/** The key set that `--jwks` names, a file or an address. Throws a sentence when there is none. */
export async function readKeys(place: string): Promise<JSONWebKeySet> {
  const source = /^https?:\/\//.test(place) ? await get(place) : await readFile(place, 'utf8')
  const keys = parsed(source) as JSONWebKeySet | undefined
  if (!Array.isArray(keys?.keys))
    throw new Error('--jwks names no JWK set, such as sys/leasehold/jwks answers')
  return keys
}

export function parsed(source: string): unknown {
  try {
    return JSON.parse(source)
  } catch {
    return undefined
  }
}
