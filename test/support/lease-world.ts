import { openTrail } from '../../src/audit/trail.ts'
import { createTokenStore, type TokenStore } from '../../src/identity/tokens.ts'
import { adminOf } from '../../src/lease/admin-credentials.ts'
import { createLeaseBook, type LeaseBook } from '../../src/lease/book.ts'
import { createEnder, type Ender } from '../../src/lease/ender.ts'
import { createEnrolment, type Enrolment } from '../../src/lease/enrolment.ts'
import { createIssuables } from '../../src/lease/issuables.ts'
import { createIssue, type Issue, type IssueAsk, type Issued } from '../../src/lease/issue.ts'
import { createMounts, type Mount, type Mounts } from '../../src/lease/mounts.ts'
import { createReceiptSigner, type ReceiptSigner } from '../../src/lease/receipts.ts'
import { createRenew, type Renew } from '../../src/lease/renew.ts'
import { createRoles, type Roles } from '../../src/lease/roles.ts'
import { openSigner } from '../../src/lease/signer.ts'
import { createRecovery, createSweep, type Sweep } from '../../src/lease/sweep.ts'
import { createTargets, type Targets } from '../../src/lease/targets.ts'
import type { Ledger } from '../../src/ledger/db.ts'
import { sealedSecrets } from '../../src/ledger/sealed-secrets.ts'
import { createLogger } from '../../src/lib/log.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import type { Principal } from '../../src/policy/principal.ts'
import { builtinSecretStore } from '../../src/secrets/builtin/builtin-store.ts'
import { createCredentials } from '../../src/secrets/credentials.ts'
import { secretStores } from '../../src/secrets/stores.ts'
import { type FakeTarget, fakeTarget } from './fake-engine.ts'
import { openTestLedger, type TestLedger } from './ledger.ts'
import { aRequest, prove } from './tokens.ts'

/** The lease layer on a real ledger and a target in memory; several processes of it can share both. */
export type LeaseProcess = {
  issue: Issue
  renew: Renew
  ender: Ender
  sweep: Sweep
  targets: Targets
  tokens: TokenStore
  mounts: Mounts
  roles: Roles
  enrolment: Enrolment
  receipts: ReceiptSigner
  book: LeaseBook
  /** Targets this process asked the queue to wake. */
  woken: string[]
}

export type LeaseWorld = LeaseProcess & {
  test: TestLedger
  ledger: Ledger
  target: FakeTarget
  mount: Mount
  root: Principal
  /** Another process on the same ledger and target. */
  process(name: string): Promise<LeaseProcess>
  /** A token below root with root's rights. */
  childOfRoot(wanted?: { ttlSeconds?: number; numUses?: number; renewable?: boolean }): Promise<Principal>
  /** Asks for a credential as root, of the role `app`. */
  take(principal?: Principal): Promise<Issued>
  /** What root asks when it asks for this role now. */
  ask(roleName: string): Promise<IssueAsk>
  close(): Promise<void>
}

const MASTER_KEY = sensitive(Buffer.alloc(32, 7).toString('base64'))
const log = createLogger('silent', 'json')

export async function openLeaseWorld(
  role: { ttl?: number; max?: number; fields?: object } = {},
): Promise<LeaseWorld> {
  const test = await openTestLedger()
  const target = fakeTarget()
  const opened: Targets[] = []
  const process = async (name: string): Promise<LeaseProcess> => {
    const made = await leaseProcess(test.another(), target, name)
    opened.push(made.targets)
    return made
  }
  const first = await process('first')
  await first.mounts.enable('database/', 'database', {})
  const mount = (await first.mounts.find('database/')) as Mount
  await first.enrolment.write(mount, 'db', {
    plugin: 'fake-database-plugin',
    verify: true,
    allowedRoles: ['*'],
    password: sensitive('admin-password'),
    fields: { username: 'admin' },
  })
  await first.roles.write(mount, 'app', {
    dbName: 'db',
    defaultTtlSeconds: role.ttl ?? 60,
    maxTtlSeconds: role.max ?? 600,
    fields: { ...role.fields },
  })
  const { token } = await first.tokens.createRootToken()
  const root = await prove(first.tokens, token.reveal())
  const ask = async (roleName: string) => {
    const { reading } = await first.tokens.identify(undefined)
    const allowedBy = { policy: 'root' }
    return { principal: root, reading, mount, allowedBy, path: `database/creds/${roleName}`, roleName }
  }

  return {
    ...first,
    test,
    ledger: test.ledger,
    target,
    mount,
    root,
    process,
    ask,
    take: async (principal = root) => first.issue({ ...(await ask('app')), principal }),
    async childOfRoot(wanted = {}) {
      const { token: child } = await first.tokens.create(
        root,
        aRequest({ policies: ['root'], sudo: true, ...wanted }),
      )
      return prove(first.tokens, child.reveal())
    },
    async close() {
      await Promise.all(opened.map((targets) => targets.close()))
      await test.close()
    },
  }
}

async function leaseProcess(ledger: Ledger, target: FakeTarget, worker: string): Promise<LeaseProcess> {
  const engineTypes = [target.type]
  const secrets = builtinSecretStore(sealedSecrets(ledger), { masterKey: MASTER_KEY })
  const credentials = createCredentials(secretStores({ builtin: secrets, external: {}, default: 'builtin' }))
  const receipts = createReceiptSigner(await openSigner(secrets, 'test-installation'))
  const woken: string[] = []
  const wake = (targetId: string) => void woken.push(targetId)
  const targets = createTargets({
    ledger,
    engineTypes,
    admin: (row) => adminOf(credentials, row),
    onRecovery: createRecovery({ ledger, wake, log }),
  })
  const ender = createEnder({ ledger, trail: openTrail(ledger), targets, receipts, log, worker, wake })
  const tokens = createTokenStore(ledger, (targetIds) => targetIds.forEach(wake))
  const { endExpiredTokens } = tokens
  return {
    targets,
    ender,
    tokens,
    receipts,
    woken,
    issue: createIssue({
      ledger,
      issuables: createIssuables(ledger),
      targets,
      engineTypes,
      ender,
      leaseCounts: async () => [],
      wakeAt: wake,
    }),
    renew: createRenew({ ledger, targets, engineTypes, wakeAt: wake }),
    sweep: createSweep({ ledger, targets, ender, endExpiredTokens, intervalMs: 1_000_000, log }),
    mounts: createMounts({ ledger, types: { secret: ['database'], auth: [] }, wake }),
    roles: createRoles({ ledger, engineTypes }),
    enrolment: createEnrolment({ ledger, credentials, engineTypes, wake }),
    book: createLeaseBook(ledger, engineTypes),
  }
}
