import type { Identified } from '../identity/authenticate.ts'
import type { Principal } from '../policy/principal.ts'

export type { Identified, Principal }
export type Reading = Identified['reading']

/** What may be asked of a path. POST and PUT are one operation, as in the dialect. */
export type Operation = 'read' | 'list' | 'update' | 'patch' | 'delete'

/** Where an engine or an auth method answers. `path` ends with a slash; auth mounts begin with `auth/`. */
export type Mount = {
  id: string
  path: string
  type: string
  description: string
  config: Readonly<Record<string, unknown>>
  options: Readonly<Record<string, unknown>> | null
}

/** Request fields as they came: JSON values from a body, strings and lists of strings from a query or a form. */
export type Parameters = Readonly<Record<string, unknown>>

/** The question put to policy. `path` is decoded, without `/v1/`, and ends in a slash only for `list`. */
export type Ask = {
  principal: Principal
  operation: Operation
  path: string
  sudo: boolean
  parameters: Parameters
  /** The address the request came from. */
  source: string
}
