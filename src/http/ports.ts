import type { Identified } from '../identity/authenticate.ts'
import type { Authorizer, Decision, Explained, GrantedPattern, Question } from '../policy/authorize.ts'
import type { Principal } from '../policy/principal.ts'

export type { Authorizer, Decision, Explained, GrantedPattern, Identified, Principal, Question }
export type Reading = Identified['reading']
export type AclOperation = Question['operation']

/** What may be asked of a path. POST and PUT are one operation, as in the dialect. */
export type Operation = 'read' | 'list' | 'update' | 'patch' | 'delete'

/** Where an engine or an auth method answers. `path` ends with a slash; auth mounts begin with `auth/`. */
export type Mount = {
  id: string
  /** The name the wire knows it by wherever its path may have changed. */
  accessor: string
  path: string
  type: string
  description: string
  config: Readonly<Record<string, unknown>>
  options: Readonly<Record<string, unknown>> | null
}

/** Request fields as they came: JSON values from a body, strings and lists of strings from a query or a form. */
export type Parameters = Readonly<Record<string, unknown>>
