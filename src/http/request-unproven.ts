import { CUT } from '../audit/canonical.ts'
import { type Detail, shortText } from '../audit/event.ts'
import { type AuditHash, auditParameters } from '../audit/parameters.ts'
import type { Request } from './access.ts'

const MAX_PATH_CHARACTERS = 256
const MAX_NAMES = 8
const MAX_NAME_CHARACTERS = 32

/**
 * What the audit log has of a request that nobody has proven to be theirs. It may say anything and costs its sender
 * nothing, so it takes little room: the values of what a login takes, or whatever else needs no client token, and a few
 * names of the rest.
 */
export function unprovenParameters(
  { found, parameters = {} }: Request,
  plain: ReadonlySet<string>,
  hash: AuditHash,
): Detail {
  const { proof, byWrappingToken, fields = {} } = found?.endpoint ?? {}
  const taken = proof !== 'token' || byWrappingToken ? fields : {}
  const told: [string, unknown][] = []
  const rest: [string, Detail][] = []
  for (const [name, value] of Object.entries(parameters)) {
    if (Object.hasOwn(taken, name) && typeof value !== 'object') told.push([name, value])
    else if (rest.length < MAX_NAMES) rest.push([shortText(name, MAX_NAME_CHARACTERS), CUT])
    else if (rest.length === MAX_NAMES) rest.push([CUT, true])
  }
  const values = auditParameters(Object.fromEntries(told), plain, hash) as Record<string, Detail>
  return Object.fromEntries([...rest, ...Object.entries(values)])
}

export const unprovenPath = (path: string): string => shortText(path, MAX_PATH_CHARACTERS)
