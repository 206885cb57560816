import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'
import type { Token } from './tokens.ts'

/** What an auth mount is set up with: its configuration, and the roles one may log in as. */

export async function findAuthConfig(db: Db, mountId: string): Promise<Document | undefined> {
  const row = await one<{ spec: Document }>(
    db,
    'select spec from leasehold.auth_config where mount_id = $1',
    [mountId],
  )
  return row?.spec
}

export const putAuthConfig = (db: Db, mountId: string, spec: Document): Promise<number> =>
  change(
    db,
    `insert into leasehold.auth_config (mount_id, spec) values ($1, $2)
     on conflict (mount_id) do update set spec = excluded.spec`,
    [mountId, spec],
  )

/** The secrets that configurations of disabled mounts still name. */
export const strandedSecrets = (db: Db): Promise<{ mountId: string; secretName: string }[]> =>
  many(
    db,
    `select c.mount_id as "mountId", c.spec ->> 'secret_name' as "secretName" from leasehold.auth_config c
     join leasehold.mount m on m.id = c.mount_id and m.disabled_at is not null
     where c.spec ->> 'secret_name' is not null`,
  )

/** Drops a configuration, unless it has another secret by now. */
export const dropConfig = (db: Db, mountId: string, secretName: string): Promise<number> =>
  change(db, `delete from leasehold.auth_config where mount_id = $1 and spec ->> 'secret_name' = $2`, [
    mountId,
    secretName,
  ])

export async function findAuthRole(db: Db, mountId: string, name: string): Promise<Document | undefined> {
  const row = await one<{ spec: Document }>(
    db,
    'select spec from leasehold.auth_role where mount_id = $1 and name = $2',
    [mountId, name],
  )
  return row?.spec
}

export async function listAuthRoles(db: Db, mountId: string): Promise<string[]> {
  const rows = await many<{ name: string }>(
    db,
    'select name from leasehold.auth_role where mount_id = $1 order by name',
    [mountId],
  )
  return rows.map(({ name }) => name)
}

export const putAuthRole = (db: Db, mountId: string, name: string, spec: Document): Promise<number> =>
  change(
    db,
    `insert into leasehold.auth_role (mount_id, name, spec) values ($1, $2, $3)
     on conflict (mount_id, name) do update set spec = excluded.spec`,
    [mountId, name, spec],
  )

export const removeAuthRole = (db: Db, mountId: string, name: string): Promise<number> =>
  change(db, 'delete from leasehold.auth_role where mount_id = $1 and name = $2', [mountId, name])

/** `claim`: what of a proof names the subject, where a mount's roles may go by different things; '' for the usual. */
export type Subject = { mountId: string; claim: string; subject: string; kind: 'human' | 'workload' }

/**
 * The one entity of each subject on its mount, in the order asked; undefined where the mount is gone. `newId` gives the
 * id of one that is seen for the first time. The mounts stay until the transaction ends.
 */
export async function entitiesOf(
  db: Db,
  subjects: readonly Subject[],
  newId: () => string,
): Promise<(string | undefined)[]> {
  const found = await many<{ live: boolean; id: string | null }>(
    db,
    `with live_mount as (
       select id from leasehold.mount where id = any($1::text[]) and disabled_at is null order by id for share)
     select m.id is not null as live, e.id
     from unnest($1::text[], $2::text[], $3::text[]) with ordinality as s (mount_id, claim, subject, n)
     left join live_mount m on m.id = s.mount_id
     left join leasehold.entity e on e.mount_id = s.mount_id and e.claim = s.claim and e.subject = s.subject
     order by s.n`,
    [
      subjects.map(({ mountId }) => mountId),
      subjects.map(({ claim }) => claim),
      subjects.map(({ subject }) => subject),
    ],
  )
  const unknown = subjects.filter((_, i) => found[i]?.live && found[i]?.id === null)
  const made = unknown.length > 0 ? await makeEntities(db, unknown, newId) : new Map<string, string>()
  return subjects.map((subject, i) =>
    found[i]?.live ? (found[i]?.id ?? made.get(keyOf(subject))) : undefined,
  )
}

const keyOf = ({ mountId, claim, subject }: Omit<Subject, 'kind'>): string =>
  JSON.stringify([mountId, claim, subject])

async function makeEntities(
  db: Db,
  subjects: readonly Subject[],
  newId: () => string,
): Promise<Map<string, string>> {
  const distinct = [...new Map(subjects.map((subject) => [keyOf(subject), subject])).values()]
  const rows = await many<Omit<Subject, 'kind'> & { id: string }>(
    db,
    // The update that changes nothing answers the row that another login has just made.
    `insert into leasehold.entity (id, mount_id, claim, subject, kind)
     select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
       as s (id, mount_id, claim, subject, kind)
     order by s.mount_id, s.claim, s.subject
     on conflict (mount_id, claim, subject) do update set subject = excluded.subject
     returning id, mount_id as "mountId", claim, subject`,
    [
      distinct.map(newId),
      distinct.map(({ mountId }) => mountId),
      distinct.map(({ claim }) => claim),
      distinct.map(({ subject }) => subject),
      distinct.map(({ kind }) => kind),
    ],
  )
  return new Map(rows.map((row) => [keyOf(row), row.id]))
}

/** Tokens of logins: none has a parent. */
export const insertLoginTokens = (db: Db, tokens: readonly Token[]): Promise<number> =>
  change(
    db,
    `insert into leasehold.token (id, accessor, type, policies, path, display_name, metadata, role, renewable,
       uses_left, ttl_seconds, explicit_max_ttl_seconds, period_seconds, bound_cidrs, expires_at, hard_expires_at,
       entity_id, identity)
     select decode(t.id, 'hex'), t.accessor, t.type, t.policies, t.path, t."displayName", t.metadata, t.role,
       t.renewable, t."usesLeft", t."ttlSeconds", t."explicitMaxTtlSeconds", t."periodSeconds", t."boundCidrs",
       t."expiresAt", t."hardExpiresAt", t."entityId", t.identity
     from json_to_recordset($1) as t (id text, accessor text, type text, policies text[], path text,
       "displayName" text, metadata jsonb, role text, renewable boolean, "usesLeft" integer, "ttlSeconds" bigint,
       "explicitMaxTtlSeconds" bigint, "periodSeconds" bigint, "boundCidrs" text[], "expiresAt" timestamptz,
       "hardExpiresAt" timestamptz, "entityId" text, identity jsonb)`,
    [JSON.stringify(tokens)],
  )

/** The role by which a login made a token, as it is now; undefined once its mount is gone. */
export const findLoginRole = (
  db: Db,
  entityId: string,
  roleName: string,
): Promise<{ spec: Document | null; mountConfig: Document } | undefined> =>
  one(
    db,
    `select r.spec, m.config as "mountConfig" from leasehold.entity e
     join leasehold.mount m on m.id = e.mount_id and m.disabled_at is null
     left join leasehold.auth_role r on r.mount_id = e.mount_id and r.name = $2
     where e.id = $1`,
    [entityId, roleName],
  )
