import { about } from '../audit/request.ts'
import type { TokenStore } from '../identity/tokens.ts'
import type { WebauthnMethod } from '../identity/webauthn/method.ts'
import { BrokerError } from '../lib/errors.ts'
import { loggedIn, loginContext, TOKEN_FIELDS } from './auth-roles.ts'
import { authConfigRoute } from './auth-routes.ts'
import {
  bool,
  commaList,
  defaulted,
  duration,
  type Fields,
  map,
  required,
  stringList,
  text,
} from './fields.ts'
import { type Call, handle, handleOpen, type Route } from './route.ts'

const CONFIG_FIELDS = {
  rp_id: text,
  rp_name: text,
  origins: commaList,
  require_hardware_bound: bool,
  allowed_aaguids: commaList,
  attestation_ca_pem: stringList,
  enrolment_max_login_age: duration,
  enrolment_amr: commaList,
  max_identity_age: duration,
  ...TOKEN_FIELDS,
} satisfies Fields

/** What the browser's API answered with, as JSON. */
const CREDENTIAL = { credential: required(map, 'missing credential') } satisfies Fields

const NAME = { name: defaulted(text, '') } satisfies Fields

type Parts = { tokens: TokenStore; webauthn: WebauthnMethod }
type Keys = { keys: WebauthnMethod['keys'] }
type Key = Awaited<ReturnType<WebauthnMethod['finishEnrolment']>>

/** Logins of people by security keys, relative to the mount. */
export function authWebauthnRoutes({ tokens, webauthn }: Parts): Route[] {
  return [
    authConfigRoute(CONFIG_FIELDS, {
      read: (mountId) => webauthn.config(mountId),
      write: (mountId, fields) => webauthn.writeConfig(mountId, fields),
    }),
    ...enrolmentRoutes(webauthn),
    ...ownKeyRoutes(webauthn),
    ...peopleRoutes(webauthn),
    ...loginRoutes({ tokens, webauthn }),
  ]
}

function enrolmentRoutes(webauthn: WebauthnMethod): Route[] {
  return [
    {
      path: 'register/begin',
      on: {
        update: handle({}, async ({ mount, reading, principal }) => ({
          data: { options: await webauthn.beginEnrolment({ mount, reading, principal }) },
        })),
      },
    },
    {
      path: 'register/finish',
      on: {
        update: handle({ ...CREDENTIAL, ...NAME }, async ({ mount, reading, principal, fields }) => {
          const { credential: answered, name } = fields
          const key = await webauthn.finishEnrolment({
            ...{ mount, reading, principal, answered, name },
            enrolling: ({ id, aaguid }) => about({ details: { security_key: id, aaguid } }),
          })
          return { data: shownKey(key) }
        }),
      },
    },
  ]
}

/** Of whoever asks: by whatever login of theirs, since a key that is lost has to go at once. */
function ownKeyRoutes({ keys }: Keys): Route[] {
  const own = ({ mount, principal }: Pick<Call, 'mount' | 'principal'>) => ({
    mountId: mount.id,
    entityId: principal.entityId,
  })
  return [
    { path: 'keys', on: { list: handle({}, async (call) => listed(await keys.list(own(call)))) } },
    {
      path: 'keys/:id',
      on: {
        read: handle({}, async (call) => shown(await keys.find(own(call), call.capture('id')))),
        update: handle(NAME, async (call) => {
          if (!(await keys.rename(own(call), call.capture('id'), call.fields.name))) throw noSuchKey()
          return undefined
        }),
        delete: handle({}, (call) => remove(keys, own(call), call.capture('id'))),
      },
    },
  ]
}

/** Of anybody, for who looks after them. A person is named by the id of their principal. */
function peopleRoutes({ keys }: Keys): Route[] {
  const owner = ({ mount, capture }: Pick<Call, 'mount' | 'capture'>) => ({
    mountId: mount.id,
    entityId: capture('person'),
  })
  return [
    {
      path: 'key-owners',
      on: {
        list: handle({}, async ({ mount }) => {
          const people = await keys.people(mount.id)
          const info = people.map(({ entityId, person, keys }) => [
            entityId,
            { ...shownPerson(person), keys },
          ])
          return {
            data: { keys: people.map(({ entityId }) => entityId), key_info: Object.fromEntries(info) },
          }
        }),
      },
    },
    {
      path: 'key-owners/:person/keys',
      on: { list: handle({}, async (call) => listed(await keys.list(owner(call)))) },
    },
    {
      path: 'key-owners/:person/keys/:id',
      on: {
        read: handle({}, async (call) => shown(await keys.find(owner(call), call.capture('id')))),
        delete: handle({}, (call) => remove(keys, owner(call), call.capture('id'))),
      },
    },
  ]
}

async function remove(
  keys: WebauthnMethod['keys'],
  owner: { mountId: string; entityId: string },
  id: string,
): Promise<undefined> {
  about({ details: { security_key: id, owner: owner.entityId } })
  if (!(await keys.remove(owner, id))) throw noSuchKey()
}

function loginRoutes({ tokens, webauthn }: Parts): Route[] {
  return [
    {
      path: 'login/begin',
      on: {
        // No more than a look at the ledger, as any request is: nothing of it is kept, and so nothing is on record.
        update: handleOpen({}, async (call) => {
          const { mount, reading } = loginContext(call)
          return { data: { options: await webauthn.beginLogin({ mount, reading }) } }
        }),
      },
    },
    {
      path: 'login/finish',
      on: {
        update: handleOpen(
          CREDENTIAL,
          async (call) => {
            const created = await webauthn.finishLogin({
              ...loginContext(call),
              answered: call.fields.credential,
              proved: (security_key) => about({ details: { security_key } }),
            })
            return loggedIn(tokens, call, created)
          },
          { login: true, loginField: null },
        ),
      },
    },
  ]
}

const noSuchKey = () => new BrokerError('not_found', 'there is no such security key')

const shown = (key: Key | undefined) => key && { data: shownKey(key) }

const listed = (keys: readonly Key[]) => ({
  data: {
    keys: keys.map(({ id }) => id),
    key_info: Object.fromEntries(keys.map((key) => [key.id, shownKey(key)])),
  },
})

const shownKey = (key: Key) => ({
  id: key.id,
  name: key.name,
  credential_id: key.credentialId,
  aaguid: key.aaguid,
  transports: key.transports,
  hardware_bound: key.deviceType === 'singleDevice',
  backed_up: key.backedUp,
  created_at: key.createdAt.toISOString(),
  last_used_at: key.lastUsedAt?.toISOString() ?? null,
  person: shownPerson(key.person),
})

/** As they were at enrolment. */
const shownPerson = ({ subject, mount, role, displayName }: Key['person']) => ({
  subject,
  mount,
  role,
  display_name: displayName,
})
