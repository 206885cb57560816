import { createHash, createHmac, randomBytes } from 'node:crypto'
import { newId } from '../../lib/ids.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { EngineError } from '../engine.ts'
import type { Session } from './connections.ts'
import { FUNCTIONS_VERSION } from './definer-routine.ts'
import type { Found } from './lookup.ts'
import { scramVerifier } from './scram.ts'
import { literal, nameArray, oidArray } from './sql.ts'

/**
 * The broker's side of the functions in `leasehold_broker`, with which an admin account makes and ends accounts and
 * needs no right of its own. Where they are not installed, everything is done by plain statements.
 */

/** Installed functions that this session may call and that are of our version. */
export type Functions = { accountKey: Sensitive | undefined }

/**
 * Whether a role, an expression of SQL, has functions to call. Only what belongs to a superuser counts: anybody who may
 * make a schema could have put something of that name there, to learn what we tell it.
 */
export const hasFunctions = (role: string): string => `EXISTS (
  SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
    JOIN pg_catalog.pg_roles s ON s.oid = n.nspowner JOIN pg_catalog.pg_roles o ON o.oid = p.proowner
  WHERE n.nspname = 'leasehold_broker' AND p.proname = 'version' AND p.pronargs = 0 AND s.rolsuper AND o.rolsuper
    AND has_schema_privilege(${role}, n.oid, 'USAGE') AND has_function_privilege(${role}, p.oid, 'EXECUTE'))`

export const VERSION_QUERY = 'SELECT leasehold_broker.version() AS version'

export const isOurVersion = (version: number): boolean => version === FUNCTIONS_VERSION

/** What extending an account takes. It never leaves us but towards the account's own target. */
export function extensionKey({ accountKey }: Functions, name: string): Buffer {
  if (!accountKey) throw new EngineError('failed', 'no key was given to prove with that the broker asks')
  return createHmac('sha256', accountKey.reveal()).update(`leasehold extend ${name}`).digest()
}

/** All that the target is told when the account is made. */
export const extensionKeyHash = (functions: Functions, name: string): string =>
  createHash('sha256').update(extensionKey(functions, name)).digest('hex')

const namesOf = (accounts: readonly Pick<Found, 'name'>[]): string =>
  nameArray(accounts.map(({ name }) => name))
const oidsOf = (accounts: readonly Pick<Found, 'oid'>[]): string => oidArray(accounts.map(({ oid }) => oid))

type Named = readonly Pick<Found, 'name' | 'oid'>[]

export type Making = {
  name: string
  lease: string
  verifier: string
  key_hash: string
  /** Seconds since 1970 on the target's clock. */
  until: number
  connections: number
  groups: readonly string[]
}

/** Each is one statement, as text, for accounts found on the target. */
export const call = {
  make: (accounts: readonly Making[]): string =>
    `SELECT leasehold_broker.make(${literal(JSON.stringify(accounts))}::jsonb)`,
  lockOut: (accounts: Named): string => `SELECT leasehold_broker.lock_out(${namesOf(accounts)})`,
  strip: (accounts: Named): string => `SELECT leasehold_broker.strip(${namesOf(accounts)})`,
  drop: (accounts: Named): string => `SELECT leasehold_broker.drop_disabled(${namesOf(accounts)})`,
  disarm: (accounts: Named): string => `SELECT leasehold_broker.disarm(${oidsOf(accounts)})`,
  handOver: (accounts: Named, owner: string): string =>
    `SELECT leasehold_broker.hand_over(${oidsOf(accounts)}, ${literal(owner)})`,
  endSessions: (oids: string): string =>
    `SELECT pid, usesysid::text, usename, allowed FROM leasehold_broker.end_sessions(ARRAY${oids}::oid[])`,
  lend: (oid: string): string => `SELECT leasehold_broker.lend(${Number(oid)}::oid)`,
}

const KEY_BYTES = 32

/** Makes an account by the functions and ends it, in a transaction that the caller rolls back. */
export async function tryFunctions(session: Session, owner: string): Promise<void> {
  const lease = newId()
  const name = `v_probe_${lease}`
  const probe = {
    name,
    lease,
    verifier: await scramVerifier(lease, 1),
    // Nobody is to extend it.
    key_hash: createHash('sha256').update(randomBytes(KEY_BYTES)).digest('hex'),
    until: 0,
    connections: 1,
    groups: [],
  }
  await session.query(`BEGIN; ${call.make([probe])}`)
  const { rows } = await session.query(`SELECT oid::text FROM pg_roles WHERE rolname = ${literal(name)}`)
  const found = [{ name, oid: rows[0].oid as string }]
  await session.query(
    [call.lockOut(found), call.strip(found), call.handOver(found, owner), call.drop(found)].join('; '),
  )
}
