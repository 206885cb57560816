import { type AuthMount, logIn } from '../src/identity/login.ts'
import { tokenFieldsOf } from '../src/identity/token-fields.ts'
import type { Ledger } from '../src/ledger/db.ts'
import { MOUNT_ACCESSOR } from '../src/ledger/mounts.ts'
import type { Installation } from './world.ts'

/** What a ledger holds that has been at work for a while: rows alone, none has an account anywhere. */
export type ConsoleRows = { leases: number; ended: number; grants: number; closed: number; events: number }

/** Has all the live leases but those of `FEW`, by one role. */
export const PRINCIPAL = 'deploy'
export const ROLE = 'database/creds/issue-4096'
/** A role and a principal with a handful of leases. */
export const FEW = { role: 'database/creds/brief', principal: 'nightly', leases: 20 }
/** A path that was asked at the beginning of the log alone, and a grant that a few events are about. */
export const RETIRED = 'database/creds/retired'
export const GRANT = 'grant-000007'

export async function fillRows({ ledger, clients }: Installation, size: ConsoleRows): Promise<void> {
  await ledger.query(LIVE, [size.leases, FEW.leases, PRINCIPAL, FEW.principal])
  await ledger.query(ENDED, [size.ended, PRINCIPAL])
  await ledger.query(EVENTS, [size.events, PRINCIPAL, RETIRED])
  // The server lets go of a connection that is idle for so long as the rows above take.
  const [root] = await clients(1)
  await root?.call('POST', 'break-glass/policies/bench', POLICY)
  for (const [prefix, state, count, age] of [
    ['p', 'pending', size.grants, '1 second'],
    ['c', 'closed_ok', size.closed, '10 minutes'],
  ]) {
    await ledger.query(GRANTS, [count, prefix, state, age, JSON.stringify(REQUESTER), JSON.stringify(PLAN)])
  }
  await ledger.query('vacuum analyze')
}

const LEASE = `insert into leasehold.lease (id, path, mount_id, role_id, target_id, token_id, principal_id, account, target_ref,
    state, issued_at, expires_at, hard_expires_at, hard_limited_by, create_deadline, next_action_at, access_ended_at, ended_at,
    end_reason, allowed_by)`
const OF = `leasehold.mount m on m.path = 'database/'
  join leasehold.role r on r.mount_id = m.id and r.replaced_at is null
  join leasehold.target t on t.mount_id = m.id
  join leasehold.token k on k.parent_id is null and k.expires_at is null`
const ALLOWED = `'{"policy":"root","version":1}'`

/** Half of them end one by one in the next hours, in groups, and half at one time, as those of one token do. */
const LIVE = `${LEASE}
  select lpad(i::text, 24, '0'), 'database/creds/' || r.name, m.id, r.id, t.id, k.id,
    case when few then $4::text else $3::text end, 'v_root_issue_' || lpad(i::text, 24, '0'), (20000 + i)::text, 'active',
    now() - i * interval '0.3 second', ends, now() + interval '12 hours', 'role_max', now(), ends, null, null, null, ${ALLOWED}
  from generate_series(1, $1::integer) i
  cross join lateral (select i <= $2::integer as few,
    now() + case when i % 2 = 0 then interval '1 hour' else interval '1 hour' + i / 10 * interval '2 seconds' end as ends) w
  join ${OF} and r.name = case when few then 'brief' else 'issue-4096' end`

const ENDED = `${LEASE}
  select 'e' || lpad(i::text, 23, '0'), 'database/creds/' || r.name, m.id, r.id, t.id, k.id, $2::text,
    'v_root_ended_' || lpad(i::text, 23, '0'), (20000 + i)::text, 'revoked', ended - interval '10 minutes', ended, ended,
    'role_max', ended, null, ended + interval '0.4 second', ended + interval '2 seconds', 'expired', ${ALLOWED}
  from generate_series(1, $1::integer) i cross join lateral (select now() - i * interval '2 seconds' as ended) w
  join ${OF} and r.name = 'issue-4096'`

/** Canonical text, as long as events of this kind are. */
const EVENTS = `insert into leasehold.audit_event (writer, seq, at, body, hash, at_time, type, principal, lease_id, target)
  select 'bench', i, to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    case when step then format('{"lease_id":"%s","outcome":{},"target":"target","type":"lease_step","what":{"operation":"%s","parameters":{"sessions":0,"oid":%s}}}',
      lease, case when i % 4 = 1 then 'disable' else 'verify' end, i)
    else format('{"decision":{"allowed":true,"line":1,"pattern":"*","policy":"root","version":1},%s"outcome":{"status":200},"request_id":"%s","type":"request","what":{"operation":"read","path":"%s"},"who":{"accessor":"%s","display_name":"deploy","kind":"workload","mount":"auth/jwt/","principal":"%s","source_address":"10.0.0.7","subject":"repo:shop/orders:ref:refs/heads/main"}}',
      case when grant_id is null then '' else format('"details":{"action":"approve","grant_id":"%s"},', grant_id) end,
      md5(i::text), path, md5(i::text), $2::text) end,
    md5(i::text) || md5(i::text), at, case when step then 'lease_step' else 'request' end,
    case when step then null else $2::text end, case when step or i % 4 = 0 then lease end, case when step then 'target' end
  from generate_series(1, $1::integer) i
  cross join lateral (select now() - ($1::integer - i) * interval '1 second' as at,
    i > 20 and i % 4 in (1, 2) as step, '${ROLE}/' || lpad((i / 4)::text, 24, '0') as lease,
    case when i % 400 = 3 then 'grant-' || lpad((i / 400 % 100)::text, 6, '0') end as grant_id) w
  cross join lateral (select case when i <= 20 then $3::text when i % 400 = 3 then 'break-glass/requests/' || grant_id || '/approve'
    when i % 4 = 0 then '${ROLE}' else 'auth/token/lookup-self' end as path) p`

const GRANTS = `insert into leasehold.access_grant (id, policy_id, lane, state, requester_id, requester, plan, plan_hash, reason,
    duration_seconds, requested_at, pending_expires_at)
  select $2::text || lpad(i::text, 23, '0'), p.id, 'break_glass', $3::text, 'r' || i, $5::jsonb, $6::jsonb, lpad(i::text, 64, '0'),
    'the queue is stuck', 3600, now() - i * $4::interval, now() + interval '1 day'
  from generate_series(1, $1::integer) i join leasehold.break_glass_policy p on p.name = 'bench'`

const POLICY = {
  roles: ['database/creds/*'],
  sets: { oncall: { groups: ['oncall'] }, owners: { groups: ['owners'] }, audit: { groups: ['audit'] } },
  reviewers: ['audit'],
  approvals: {
    all_of: [
      { set: 'oncall', count: 1 },
      { set: 'owners', count: 1 },
    ],
  },
}
const REQUESTER = { id: 'r', subject: 'alice', display_name: 'alice', person: 'issuer alice', groups: [] }
const PLAN = {
  policy: { name: 'bench', version: 1 },
  lane: 'break_glass',
  roles: [
    {
      path: 'database/creds/issue-1',
      mount: 'database/',
      name: 'issue-1',
      version: 1,
      target: 'target',
      engine: 'postgres',
      environment: '',
      privileges: ['read'],
      revocability: 'immediate',
      role_id: 'r',
      target_id: 't',
      target_digest: '0',
    },
  ],
  duration_seconds: 3_600,
  reason: 'the queue is stuck',
  ticket: '',
}

/** The token of somebody on call, who has just logged in with a second factor, and so may vote on every request that waits. */
export async function logInVoter({ clients }: Installation, ledger: Ledger): Promise<string> {
  const [root] = await clients(1)
  await root?.call('POST', 'sys/auth/oidc', { type: 'oidc' })
  await root?.call('PUT', 'sys/policies/acl/glass', {
    policy: 'path "break-glass/*" { capabilities = ["create", "read", "update", "list"] }',
  })
  const { rows } = await ledger.query<AuthMount>(
    `select m.id, m.path, ${MOUNT_ACCESSOR} as accessor, m.config from leasehold.mount m where m.path = 'auth/oidc/'`,
  )
  const now = new Date()
  const { token } = await logIn(ledger, {
    mount: rows[0] as AuthMount,
    roleName: 'people',
    token: tokenFieldsOf({ token_policies: ['glass'], token_ttl: 3_600 }),
    proven: {
      ...{ kind: 'human', groups: ['oncall'], amr: ['pwd', 'otp'], acr: '', alias: 'ben', subject: 'ben' },
      metadata: {},
      authTime: Math.floor(now.getTime() / 1_000),
      claims: { iss: 'https://issuer.example', sub: 'ben' },
    },
    sourceAddress: '127.0.0.1',
    endpoint: 'oidc/callback',
    now,
  })
  return token.reveal()
}
