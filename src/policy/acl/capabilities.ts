/**
 * Every word a policy may grant. `scan`, `subscribe` and `recover` are words of servers we follow; nothing here
 * asks for them, and a document written for those servers is still read whole.
 */
export const CAPABILITIES = [
  'create',
  'delete',
  'deny',
  'list',
  'patch',
  'read',
  'recover',
  'scan',
  'subscribe',
  'sudo',
  'update',
] as const

export type Capability = (typeof CAPABILITIES)[number]

/** A set of capabilities: one bit for each. */
export type CapabilitySet = number

const BITS = Object.fromEntries(CAPABILITIES.map((name, i) => [name, 1 << i])) as Record<Capability, number>

export const bitOf = (name: Capability): CapabilitySet => BITS[name]

export const setOf = (names: readonly Capability[]): CapabilitySet =>
  names.reduce((set, name) => set | BITS[name], 0)

export const isCapability = (name: string): name is Capability => Object.hasOwn(BITS, name)

/** What the set grants, sorted; `['deny']` when that is nothing, or when the set denies. */
export function namesOf(set: CapabilitySet): Capability[] {
  if (set === 0 || (set & BITS.deny) !== 0) return ['deny']
  return CAPABILITIES.filter((name) => (set & BITS[name]) !== 0)
}

/** The words of the field `policy`, which came before `capabilities`. */
export const OLD_POLICIES: ReadonlyMap<string, readonly Capability[]> = new Map([
  ['deny', ['deny']],
  ['read', ['read', 'list']],
  ['write', ['create', 'read', 'update', 'delete', 'list']],
  ['sudo', ['create', 'read', 'update', 'delete', 'list', 'sudo']],
])
