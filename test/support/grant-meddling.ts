import { randomBytes } from 'node:crypto'
import { putBlock } from '../../src/ledger/grant-reviews.ts'
import { pause } from '../../src/lib/pause.ts'
import { actorFor, idOf, known, type Name } from './grant-people.ts'
import { recordOf } from './grant-record.ts'
import { type Asked, asRequest, type GrantServer, type GrantWorld } from './grant-world.ts'

/** What happens to a grant from elsewhere: to its people, and to its accounts on the target. */

/** Somebody was found to have misused access of theirs. */
export const block = ({ lease }: GrantWorld, { id, number }: Asked, name: Name): Promise<unknown> =>
  putBlock(lease.ledger, { requesterId: idOf(name, number), grantId: id, reason: 'planted' })

/** A new login of somebody's, who is in no group any more. */
export async function leaveGroups(
  { lease: { ledger } }: GrantWorld,
  { number }: Asked,
  name: Name,
): Promise<void> {
  const id = idOf(name, number)
  const { kind = 'human', mount = 'auth/oidc/' } = known(name)
  await ledger.query(
    `insert into leasehold.entity (id, mount_id, subject, kind)
     select $1, m.id, $1, $2 from leasehold.mount m where m.path = $3`,
    [id, kind, mount],
  )
  const login = {
    accessor: `login-${id}`,
    entity_id: id,
    path: 'auth/oidc/login',
    parent_id: null,
    tree_id: null,
  }
  await ledger.query(
    `insert into leasehold.token
     select k.* from (select * from leasehold.token order by issued_at limit 1) t,
       jsonb_populate_record(t::leasehold.token, $1::jsonb) k`,
    [
      {
        ...login,
        id: `\\\\x${Buffer.from(`login-${id}`).toString('hex')}`,
        identity: { kind, groups: [], metadata: {} },
      },
    ],
  )
}

/** Their issuer says something of somebody. */
export async function say(
  { now }: GrantWorld,
  { access }: GrantServer,
  { number }: Asked,
  what: { word: 'suspend' | 'sign_out' | 'disable'; of: Name },
): Promise<void> {
  const id = randomBytes(16).toString('hex')
  const { id: entity, person } = actorFor(what.of, 'key', now(), number)
  await asRequest(() =>
    access.identityEvents.take({
      ...{ id, jti: id, issuer: 'https://issuer.example', mount: 'auth/oidc/', types: [what.word] },
      ...{ issuedAt: now(), forgetAt: now(), subject: what.of },
      whom: { id: entity, person },
      effects: new Set([what.word]),
    }),
  )
}

/** The reconciler has found an account of the grant altered on its target. */
export async function alter({ lease: { ledger, ender } }: GrantWorld, { id }: Asked): Promise<void> {
  const { rows } = await ledger.query<{ id: string }>(
    `select id from leasehold.lease where grant_id = $1 and state = 'active'`,
    [id],
  )
  const ids = rows.map((row) => row.id)
  if (ids.length > 0) await ender.doom({ ids }, 'foreign_change')
}

export type Gate = { arrived: Promise<void>; open(): void }

/** Holds whatever makes an account, in mid-air, until it is opened. */
export function holdCreates({ lease: { target } }: GrantWorld): Gate {
  let arrive = () => {}
  let open = () => {}
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const before = target.gate
  target.gate = async (method) => {
    if (method !== 'create') return
    arrive()
    await opened
  }
  return {
    arrived,
    open() {
      target.gate = before
      open()
    },
  }
}

/** What nobody will have is destroyed in the background: resolves when it is gone, or has a lease that is ended. */
export async function goneUnlessActive(world: GrantWorld, asked: Asked): Promise<void> {
  for (;;) {
    const { grant, accounts } = await recordOf(world, asked)
    if (accounts.length === 0 || ['active', 'ending', 'ending_stuck'].includes(grant.state)) return
    await pause(20)
  }
}
