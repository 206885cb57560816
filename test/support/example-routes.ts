import { duration, required, text } from '../../src/http/fields.ts'
import { handle, handleOpen, type Route } from '../../src/http/route.ts'
import { BrokerError } from '../../src/lib/errors.ts'

const ROLE = { name: text, ttl: duration, note: text }

/** Repeats what it was asked, so that tests see what a handler sees. */
const echo = handle(ROLE, async ({ operation, path, mount, fields, parameters, source, principal }) => ({
  data: { operation, path, mount: mount.path, fields, parameters, source, caller: principal.displayName },
}))
const nothing = handle({}, async () => undefined)

const database: Route[] = [
  { path: 'roles', on: { list: handle({}, async () => ({ data: { keys: ['a', 'b'] } })) } },
  { path: 'empty', on: { list: handle({}, async () => ({ data: { keys: [] } })) } },
  { path: 'warned', on: { list: handle({}, async () => ({ data: { keys: [] }, warnings: ['half'] })) } },
  { path: 'roles/:name', on: { read: echo, update: echo, patch: echo } },
  { path: 'silent/:name', on: { read: nothing, update: nothing, delete: nothing } },
  { path: 'deep/:path*/tune', on: { read: echo } },
  { path: 'deep/:path*', on: { update: echo, read: nothing } },
  {
    path: 'creds/:name',
    on: {
      read: handle({}, async ({ path }) => ({
        lease: { id: `${path}/id`, renewable: true, durationSeconds: 60.9 },
        data: { username: 'u' },
        leasehold: { limited_by: null },
      })),
    },
  },
  {
    path: 'fails/:how',
    on: {
      read: handle({}, async ({ capture }) => {
        if (capture('how') === 'target') throw new BrokerError('target_failed', 'connection refused')
        if (capture('how') === 'plain') throw new BrokerError('invalid_request', 'lease not found')
        if (capture('how') === 'token') throw new BrokerError('permission_denied', 'bad token')
        throw new Error('password=hunter2')
      }),
    },
  },
  { path: 'accepted', on: { update: handle({}, async () => ({ status: 202 })) } },
  { path: 'tidy', on: { update: handle({}, async () => ({ status: 202, warnings: ['started'] })) } },
]

const jwt: Route[] = [
  {
    path: 'login',
    on: {
      update: handleOpen({ jwt: required(text, 'missing jwt') }, async ({ fields, principal }) => {
        if (fields.jwt === 'down') throw new BrokerError('target_failed', 'no keys')
        if (fields.jwt === 'bad') throw new BrokerError('permission_denied', 'permission denied')
        return { auth: { client_token: 'lh.x', known: principal?.displayName ?? null } }
      }),
    },
  },
  {
    path: 'either',
    on: {
      read: handleOpen({}, async ({ principal }) => ({ data: { who: principal?.displayName ?? null } }), {
        readToken: true,
      }),
    },
  },
]

const system: Route[] = [
  {
    path: 'mounts',
    on: { read: handle({}, async () => ({ data: { 'database/': { type: 'database' } }, injected: true })) },
  },
  { path: 'health', on: { read: handleOpen({}, async () => ({ status: 299, bare: { sealed: false } })) } },
  {
    path: 'leases/revoke-prefix/:prefix*',
    on: { update: handle({}, async ({ path }) => ({ data: { path } }), { sudo: true }) },
  },
  {
    path: 'metrics',
    on: { read: handle({}, async () => ({ text: { type: 'text/plain', body: 'up 1\n' } })) },
  },
]

/** A route of every shape, by mount type. */
export const routes = { database, jwt, system }
