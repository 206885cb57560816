import { BrokerError } from '../lib/errors.ts'
import { failed, ok, type Result } from '../lib/result.ts'
import { revised } from '../lib/revised.ts'
import { type Acl, compileAcl, type NamedPolicy } from './acl/acl.ts'
import { DEFAULT_POLICY } from './acl/default-policy.ts'
import { parsePolicy } from './acl/document.ts'
import { PolicyError } from './acl/source.ts'
import type { PolicyIdentity } from './acl/template.ts'
import { compileCondition, type PreparedContext } from './condition.ts'
import type { VariableName } from './condition-values.ts'

export type PolicyText = { name: string; version: number; text: string }

/** Where the documents are kept. Each write makes a new version. */
export type PolicyShelf = {
  find(names: string[]): Promise<PolicyText[]>
  names(): Promise<string[]>
  put(name: string, text: string): Promise<void>
  remove(name: string): Promise<void>
}

/** What decides for a holder of some policies, and what its conditions want to know. */
export type Compiled = { acl: Acl<PreparedContext>; needs: ReadonlySet<VariableName> }

export type Policies = {
  /** Undefined for one there is not; `root` has no document. */
  find(name: string): Promise<PolicyText | undefined>
  /** `default` and `root` among them. */
  names(): Promise<string[]>
  /**
   * Throws `invalid_request` for a name that cannot be, and with line and column when the text is no policy; then
   * nothing has changed.
   */
  write(name: string, text: string): Promise<void>
  remove(name: string): Promise<void>
  /** The policies of these names as they are at that revision of the ledger, filled in for this identity. */
  compiled(revision: number, names: readonly string[], identity: PolicyIdentity): Promise<Compiled>
}

/** There until somebody writes another one in its place. */
const BUILT_IN: PolicyText = { name: 'default', version: 0, text: DEFAULT_POLICY }

type Parsed = NamedPolicy<PreparedContext> & { needs: ReadonlySet<VariableName> }

/** Some policies together. Those with templates differ from holder to holder, and have no `acl` before one asks. */
type Joined = { policies: readonly Parsed[]; needs: ReadonlySet<VariableName>; acl?: Compiled['acl'] }

/** Sets filled in for one holder each are many and large, and quick to make again. */
const FILLED_KEPT = 1_000

/**
 * Documents and what is compiled of them, kept for as long as the ledger's revision stays. A document that cannot be
 * read fails those who hold it, and nobody who happens to ask at the same time.
 */
export function createPolicies(shelf: PolicyShelf): Policies {
  const find = async (names: string[]): Promise<PolicyText[]> => {
    const found = await shelf.find(names)
    const bare = names.includes('default') && !found.some(({ name }) => name === 'default')
    return bare ? [...found, BUILT_IN] : found
  }
  return {
    find: async (name) => (await find([name]))[0],
    names: async () => [...new Set([...(await shelf.names()), 'default', 'root'])].sort(),
    async write(name, text) {
      if (name === 'root') throw refused('cannot update "root" policy')
      if (!NAME.test(name)) throw refused('a policy name has 1 to 128 characters, no spaces and no commas')
      parse(text)
      await shelf.put(name, text)
    },
    async remove(name) {
      if (name === 'root' || name === 'default') throw refused(`cannot delete "${name}" policy`)
      await shelf.remove(name)
    },
    compiled: compiler(find),
  }
}

/** Tokens name policies in lists with commas between. */
const NAME = /^[^\s,\p{Cc}]{1,128}$/u

function compiler(find: (names: string[]) => Promise<PolicyText[]>): Policies['compiled'] {
  const parsed = revised<Result<Parsed>>(
    async (names) => new Map((await find(names)).map((policy) => [policy.name, parseKept(policy)])),
  )
  const join = async (key: string): Promise<Result<Joined>> => {
    const [revision, names] = JSON.parse(key) as [number, string[]]
    const policies: Parsed[] = []
    for (const policy of await Promise.all(names.map((name) => parsed(revision, name)))) {
      if (policy?.ok === false) return policy
      if (policy) policies.push(policy.value)
    }
    const needs = new Set(policies.flatMap((policy) => [...policy.needs]))
    return ok({ policies, needs, ...(!policies.some(hasTemplates) && { acl: compileAcl({ policies }) }) })
  }
  const joined = revised(async (keys) => byKey(keys, join))

  const fill = async (key: string): Promise<Compiled['acl']> => {
    const [revision, names, identity] = JSON.parse(key) as [number, string[], PolicyIdentity]
    const { policies } = unwrapped(await joined(revision, JSON.stringify([revision, names])))
    return compileAcl({ policies, identity })
  }
  const filled = revised(async (keys) => byKey(keys, fill), FILLED_KEPT)

  return async (revision, names, identity) => {
    // Its own rules name the decision where others grant the same: `default` comes last.
    const ordered = [
      ...names.filter((name) => name !== 'default'),
      ...names.filter((name) => name === 'default'),
    ]
    const { needs, acl } = unwrapped(await joined(revision, JSON.stringify([revision, ordered])))
    if (acl) return { acl, needs }
    const own = await filled(revision, JSON.stringify([revision, ordered, identity]))
    return { acl: own as Compiled['acl'], needs }
  }
}

const hasTemplates = ({ document }: Parsed): boolean => document.rules.some(({ pattern }) => !pattern)

const byKey = async <Value>(keys: string[], make: (key: string) => Promise<Value>) =>
  new Map(await Promise.all(keys.map(async (key): Promise<[string, Value]> => [key, await make(key)])))

function unwrapped<Value>(result: Result<Value> | undefined): Value {
  if (!result) throw new Error('nothing was made for a key')
  if (!result.ok) throw result.error
  return result.value
}

const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)

function parse(text: string) {
  const needs = new Set<VariableName>()
  const collect = (source: string) => {
    const condition = compileCondition(source)
    for (const name of condition.variables) needs.add(name)
    return condition
  }
  try {
    return { document: parsePolicy<PreparedContext>(text, collect), needs }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    throw refused(error.message)
  }
}

/** It was read whole when it was written; a version of ours that reads it no more must not let it pass for less. */
function parseKept({ name, version, text }: PolicyText): Result<Parsed> {
  try {
    return ok({ name, version, ...parse(text) })
  } catch (cause) {
    const message = `the policy "${name}" cannot be read by this version`
    return failed(new BrokerError('unavailable', message, { cause }))
  }
}
