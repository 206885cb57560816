import {
  type Account,
  type EndStep,
  type Engine,
  EngineError,
  type EngineType,
  type Evidence,
  type Spec,
} from '../../src/engine/engine.ts'
import { failed, ok, type Result } from '../../src/lib/result.ts'
import { sensitive } from '../../src/lib/sensitive.ts'

export type FakeAccount = {
  name: string
  leaseId: string
  login: boolean
  sessions: number
  lifetimeMs: number
}

/** A target in memory: what is on it, what was asked of it, and what should go wrong next. */
export type FakeTarget = {
  type: EngineType
  accounts: Map<string, FakeAccount>
  calls: { method: string; names: string[] }[]
  /** The specs it was opened with, in order. */
  opened: Spec[]
  /** While set, every call fails as if the server were gone. */
  down: boolean
  /** Fails the item with this account name at this method or step, as often as it is asked, until removed. */
  faults: Map<string, Error>
  /** Awaited before a call takes effect: holds a call in mid-air. */
  gate: (method: string) => Promise<void>
}

export const faultKey = (method: string, name = '*'): string => `${method} ${name}`

export function fakeTarget(): FakeTarget {
  const target: FakeTarget = {
    accounts: new Map(),
    calls: [],
    opened: [],
    down: false,
    faults: new Map(),
    gate: async () => {},
    type: {
      name: 'fake',
      plugins: ['fake-database-plugin'],
      mountType: 'database',
      checkTarget: (fields) => ({ spec: fields, warnings: [] }),
      checkRole: (fields) => ({ spec: fields, warnings: [] }),
      accountName: ({ roleName, leaseId }) => `v_${roleName}_${leaseId}`,
      open: (spec: Spec) => {
        target.opened.push(spec)
        return fakeEngine(target)
      },
    },
  }
  return target
}

function fakeEngine(target: FakeTarget): Engine {
  const call = async <In extends { account: Account }, Out>(
    method: string,
    items: readonly In[],
    act: (item: In) => Out,
  ): Promise<Result<Out>[]> => {
    target.calls.push({ method, names: items.map(({ account }) => account.name) })
    await target.gate(method)
    if (target.down) throw new EngineError('unreachable', 'the target does not answer')
    return items.map((item) => {
      const fault =
        target.faults.get(faultKey(method, item.account.name)) ?? target.faults.get(faultKey(method))
      return fault ? failed(fault) : ok(act(item))
    })
  }

  return {
    create: (tickets) =>
      call('create', tickets, ({ account, lifetimeMs, createWithinMs }) => {
        if (createWithinMs <= 0) throw new EngineError('late', 'too late')
        const { name, leaseId } = account
        target.accounts.set(name, { name, leaseId, login: true, sessions: 0, lifetimeMs })
        return { targetRef: `ref-${name}`, secret: { username: name, password: sensitive(`pw-${name}`) } }
      }),
    extend: (terms) =>
      call('extend', terms, ({ account, lifetimeMs }) => {
        const made = target.accounts.get(account.name)
        if (made) made.lifetimeMs = lifetimeMs
      }),
    end: async (step: EndStep, endings) => {
      const pending = endings.map(({ createWithinMs }) => step === 'verify' && createWithinMs > 0)
      const results = await call(step, endings, ({ account }) => {
        const made = target.accounts.get(account.name)
        const evidence = evidenceOf(step, made)
        if (step === 'disable' && made) made.login = false
        if (step === 'disconnect' && made) made.sessions = 0
        if (step === 'remove') target.accounts.delete(account.name)
        return evidence
      })
      return results.map((result, i) => (pending[i] ? failed(new EngineError('pending', 'not yet')) : result))
    },
    async *accounts() {
      for (const { name, leaseId } of target.accounts.values())
        yield { name, leaseId, targetRef: `ref-${name}` }
    },
    probe: async () => {
      if (target.down) throw new EngineError('unreachable', 'the target does not answer')
      return { serverVersion: 'fake', clockSkewMs: 0, revocability: 'immediate', missing: [], warnings: [] }
    },
    ping: async () => {
      if (target.down) throw new EngineError('unreachable', 'the target does not answer')
    },
    close: async () => {},
  }
}

const evidenceOf = (step: EndStep, made: FakeAccount | undefined): Evidence => ({
  account: made ? 'present' : 'absent',
  ...(step === 'disable' && made && { was_disabled_before: !made.login }),
  ...(step === 'disconnect' && { sessions_ended: made?.sessions ?? 0 }),
})
