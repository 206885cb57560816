import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Account, END_STEPS, type Engine, EngineError, type Spec } from '../../src/engine/engine.ts'
import { ID_PATTERN, newId } from '../../src/lib/ids.ts'
import type { Result } from '../../src/lib/result.ts'
import { RIGS, type Rig } from '../support/engines.ts'

/** What `src/engine/engine.ts` promises, tried on every implementation of it. */
describe.each(RIGS)('$name', ({ start }) => {
  let rig: Rig
  let engine: Engine

  beforeAll(async () => {
    rig = await start()
    engine = rig.type.open(rig.target, async () => rig.admin)
  })
  afterAll(async () => {
    await engine?.close()
    await rig?.stop()
  })

  const accountFor = (roleName: string, displayName = 'token'): Account => {
    const leaseId = newId()
    const ask = { target: rig.target, role: rig.role, asked: {}, roleName, leaseId, displayName }
    return { leaseId, name: rig.type.accountName(ask), targetRef: null }
  }
  const ticket = (account: Account, role: Spec = rig.role, createWithinMs = 20_000) => ({
    account,
    role,
    asked: {},
    lifetimeMs: 600_000,
    createWithinMs,
  })
  const make = async (account: Account = accountFor('app')) => {
    const created = valueIn((await engine.create([ticket(account)]))[0])
    return { account: { ...account, targetRef: created.targetRef }, secret: created.secret }
  }
  const endAll = async (accounts: readonly Account[]) => {
    const evidence: unknown[][] = []
    for (const step of END_STEPS) {
      const endings = accounts.map((account) => ({ account, role: rig.role, createWithinMs: 0 }))
      evidence.push((await engine.end(step, endings)).map(valueIn))
    }
    return evidence
  }

  test('an account is named after its lease, whatever role and caller are called', () => {
    for (const name of ['app', 'A-b.c', 'x'.repeat(200), 'ümläut', `'"\\;--/*$$`, '']) {
      const account = accountFor(name, name)
      expect(account.name).toContain(account.leaseId)
      expect(account.leaseId).toMatch(ID_PATTERN)
    }
  })

  test('an account that was made logs in and may do what its role allows', async () => {
    const { account, secret } = await make()
    const guest = await rig.logIn(secret)
    await guest.work()
    await guest.leave()
    expect(await rig.accountNames()).toContain(account.name)
    expect(account.targetRef).not.toBe('')
    await endAll([account])
  })

  test('what is handed out cannot be printed by accident', async () => {
    const { account, secret } = await make()
    const shown = Object.values(secret).map(String)
    expect(shown).toContain('[sensitive]')
    await endAll([account])
  })

  test('every account of a batch is made, each with a secret of its own', async () => {
    const accounts = Array.from({ length: 40 }, () => accountFor('app'))
    const created = (await engine.create(accounts.map((account) => ticket(account)))).map(valueIn)
    const nameIn = rig.nameIn ?? (({ username }) => username)
    expect(created.map(({ secret }) => nameIn(secret))).toEqual(accounts.map(({ name }) => name))
    const guests = await Promise.all([created[0], created[39]].map((each) => rig.logIn(each?.secret ?? {})))
    await Promise.all(guests.map((guest) => guest.leave()))
    await endAll(accounts)
    expect(await rig.accountNames()).toEqual([])
  })

  test('a bad item of a batch fails alone', async () => {
    const accounts = [accountFor('a'), accountFor('b'), accountFor('c')] as const
    const results = await engine.create([
      ticket(accounts[0]),
      ticket(accounts[1], rig.brokenRole),
      ticket(accounts[2]),
    ])
    expect(results.map(({ ok }) => ok)).toEqual([true, false, true])
    expect((await rig.accountNames()).sort()).toEqual([accounts[0].name, accounts[2].name].sort())
    await endAll(accounts)
  })

  test('an account that exists already is not made again, and the others of its batch are', async () => {
    const { account } = await make()
    const other = accountFor('other')
    const results = await engine.create([ticket(account), ticket(other)])
    expect(results.map(({ ok }) => ok)).toEqual([false, true])
    await endAll([account, other])
  })

  test('past its deadline nothing is made', async () => {
    const account = accountFor('app')
    const [result] = await engine.create([ticket(account, rig.role, 0)])
    expect(errorOf(result).kind).toBe('late')
    expect(await rig.accountNames()).not.toContain(account.name)
  })

  test('extending moves the expiry that the target enforces', async () => {
    const { account } = await make()
    const before = await rig.expiryOf(account.name)
    valueIn((await engine.extend([{ account, role: rig.role, lifetimeMs: 3_600_000 }]))[0])
    const after = await rig.expiryOf(account.name)
    if (before && after) expect(after.getTime() - before.getTime()).toBeGreaterThan(2_900_000)
    await endAll([account])
  })

  test('extending an absent account fails, and the others of its batch are extended', async () => {
    const { account } = await make()
    const absent = accountFor('absent')
    const results = await engine.extend(
      [absent, account].map((each) => ({ account: each, role: rig.role, lifetimeMs: 60_000 })),
    )
    expect(results.map(({ ok }) => ok)).toEqual([false, true])
    expect(errorOf(results[0]).message).toContain(absent.name)
    await endAll([account])
  })

  test('ending cuts the open session, refuses the login, removes the account and proves it', async () => {
    const { account, secret } = await make()
    const guest = await rig.logIn(secret)
    const evidence = await endAll([account])
    expect(evidence).toHaveLength(END_STEPS.length)
    await expect(guest.work()).rejects.toThrow()
    await expect(rig.logIn(secret)).rejects.toThrow()
    expect(await rig.accountNames()).not.toContain(account.name)
  })

  test('after the first step alone the login is refused', async () => {
    const { account, secret } = await make()
    valueIn((await engine.end('disable', [{ account, role: rig.role, createWithinMs: 0 }]))[0])
    await expect(rig.logIn(secret)).rejects.toThrow()
    await endAll([account])
  })

  test('every step may be repeated, and succeeds for an account that never was', async () => {
    const { account } = await make()
    const never = accountFor('never')
    for (const step of END_STEPS) {
      for (let time = 0; time < 2; time += 1) {
        const endings = [account, never].map((each) => ({ account: each, role: rig.role, createWithinMs: 0 }))
        for (const result of await engine.end(step, endings)) expect(valueIn(result)).toBeTypeOf('object')
      }
    }
    await endAll([account])
  })

  test('verify waits while a create may still land, and fails while the account is there', async () => {
    const { account } = await make()
    const verify = (createWithinMs: number) =>
      engine.end('verify', [{ account, role: rig.role, createWithinMs }])
    expect(errorOf((await verify(5_000))[0]).kind).toBe('pending')
    expect(errorOf((await verify(0))[0]).kind).toBe('blocked')
    await endAll([account])
    expect(errorOf((await verify(5_000))[0]).kind).toBe('pending')
    valueIn((await verify(0))[0])
  })

  test('the scan finds every account that carries our mark, and no other', async () => {
    const made = await Promise.all([make(), make(), make()])
    const seen: Account[] = []
    for await (const account of engine.accounts()) seen.push(account)
    const byName = (a: Account, b: Account) => (a.name < b.name ? -1 : 1)
    expect(seen.sort(byName)).toEqual(made.map(({ account }) => account).sort(byName))
    await endAll(made.map(({ account }) => account))
  })

  test('a target that can be worked with is missing nothing', async () => {
    const { missing, serverVersion, clockSkewMs } = await engine.probe()
    expect(missing).toEqual([])
    expect(serverVersion).not.toBe('')
    expect(Math.abs(clockSkewMs)).toBeLessThan(60_000)
    await engine.ping()
  })

  test('a refused login asks for the credentials again', async () => {
    let asked = 0
    const rotated = rig.type.open(rig.target, async () => {
      asked += 1
      return asked === 1
        ? { ...rig.admin, password: { ...rig.admin.password, reveal: () => 'old' } }
        : rig.admin
    })
    await rotated.ping()
    expect(asked).toBe(2)
    await rotated.close()
  })

  test('a target where nothing answers fails every item as unreachable', async () => {
    const dead = rig.type.open(rig.deadTarget, async () => rig.admin)
    const account = accountFor('app')
    await expect(dead.ping()).rejects.toMatchObject({ kind: 'unreachable' })
    await expect(dead.probe()).rejects.toMatchObject({ kind: 'unreachable' })
    const created = await dead.create([ticket(account)]).catch((error: unknown) => error)
    expect(kindsOf(created)).toEqual(['unreachable'])
    const ended = await dead.end('disable', [{ account, role: rig.role, createWithinMs: 0 }])
    expect(kindsOf(ended)).toEqual(['unreachable'])
    await dead.close()
  })
})

function valueIn<T>(result: Result<T> | undefined): T {
  if (!result) throw new Error('no answer for this item')
  if (!result.ok) throw result.error
  return result.value
}

function errorOf(result: Result<unknown> | undefined): EngineError {
  if (!result || result.ok) throw new Error('this item was meant to fail')
  expect(result.error).toBeInstanceOf(EngineError)
  return result.error as EngineError
}

/** A batch may fail as a whole when the target is at fault: the lease layer takes either. */
const kindsOf = (answer: unknown): string[] =>
  answer instanceof EngineError
    ? [answer.kind]
    : (answer as Result<unknown>[]).map((result) => errorOf(result).kind)
