import { about } from '../audit/request.ts'
import type { ListView } from '../breakglass/listing.ts'
import type { Requests } from '../breakglass/requests.ts'
import { parseDuration } from '../lib/duration.ts'
import { action, present, refused, SEEN, VERSION } from './break-glass-action.ts'
import { callerActor, requestReply, viewerOf } from './break-glass-caller.ts'
import {
  commaList,
  defaulted,
  duration,
  type Fields,
  int,
  json,
  map,
  oneOf,
  required,
  text,
} from './fields.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'

/** Asking for access, and what people say to it; relative to `break-glass/`. */
export const breakGlassRequestRoutes = ({ requests }: { requests: Requests }): Route[] => [
  {
    path: 'eligible',
    on: {
      read: handle({}, async (call) => ({ data: { policies: await requests.eligible(callerActor(call)) } })),
    },
  },
  {
    path: 'requests',
    on: {
      list: handle(LIST_FIELDS, (call) => list(requests, call)),
      read: handle(LIST_FIELDS, (call) => list(requests, call)),
      update: handle(ASK_FIELDS, (call) => submit(requests, call), { grants: true }),
    },
  },
  {
    path: 'requests/:id',
    on: {
      read: handle({}, async (call) => requestReply(requests, call.capture('id'), await viewerOf(call))),
    },
  },
  ...actionRoutes(requests),
]

const MAX_PAGE = 200

const LIST_FIELDS = {
  view: defaulted(oneOf('inbox', 'mine', 'all', 'reviews'), 'all' as ListView),
  state: commaList,
  policy: text,
  role: text,
  requester: text,
  limit: int,
  cursor: text,
} satisfies Fields

const ASK_FIELDS = {
  policy: required(text, 'missing policy: which break-glass policy to ask under'),
  roles: required(json, 'missing roles: the paths of what to ask for'),
  reason: defaulted(text, ''),
  ticket: defaulted(text, ''),
  duration,
  lane: oneOf('sealed', 'drill'),
} satisfies Fields

async function list(requests: Requests, call: Call<typeof LIST_FIELDS>): Promise<Answer> {
  const { state = [], limit = 50, view, policy, role, requester, cursor } = call.fields
  if (limit < 1 || limit > MAX_PAGE) throw refused('limit', `must be from 1 to ${MAX_PAGE}`)
  const ask = { view, states: state, policy, role, requester, limit, cursor }
  return { data: await requests.list(await viewerOf(call), ask) }
}

async function submit(requests: Requests, call: Call<typeof ASK_FIELDS>): Promise<Answer> {
  const { policy, reason, ticket, duration: durationSeconds, lane } = call.fields
  const { roles, namespaces } = rolesOf(call.fields.roles)
  const actor = callerActor(call)
  about({ details: { policy, roles } })
  const made = await requests.submit(
    { policy, roles, namespaces, reason, ticket, durationSeconds, lane },
    { actor, idempotencyKey: call.idempotencyKey },
  )
  return requestReply(requests, made.id, { actor, seesAll: true })
}

/** Each is a path, or an object of one and where in a cluster the role is to be had. */
function rolesOf(sent: unknown): { roles: string[]; namespaces: Record<string, string> } {
  const namespaces: Record<string, string> = {}
  const paths = Array.isArray(sent)
    ? sent.map((item: unknown) => {
        const { path, kubernetes_namespace: namespace, ...others } = map.read(item) ?? { path: item }
        if (typeof path !== 'string' || Object.keys(others).length > 0 || (namespace && !isText(namespace))) {
          throw refused('roles', 'holds something that is neither a path nor {path, kubernetes_namespace}')
        }
        if (isText(namespace) && (namespaces[path] ?? namespace) !== namespace) {
          throw refused('roles', `names ${JSON.stringify(path)} in two namespaces: ask for each on its own`)
        }
        if (isText(namespace)) namespaces[path] = namespace
        return path
      })
    : sent
  const roles = commaList.read(paths)
  if (roles === undefined || roles.length === 0) throw refused('roles', 'is no list of paths')
  return { roles, namespaces }
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** Each answers the request as it is after it. */
const actionRoutes = (requests: Requests): Route[] => [
  action({ requests }, 'approve', { ...SEEN, narrow: map }, (act, { plan_hash, comment, narrow }) =>
    requests.approve({ ...act, planHash: plan_hash, comment, narrow: narrow && narrowOf(narrow) }),
  ),
  action({ requests }, 'deny', SEEN, (act, { plan_hash, comment }) =>
    requests.deny({ ...act, planHash: plan_hash, comment: present('comment', comment) }),
  ),
  action({ requests }, 'withdraw', VERSION, (act) => requests.withdraw(act)),
  action({ requests }, 'witness', SEEN, (act, { plan_hash, comment }) =>
    requests.witness({ ...act, planHash: plan_hash, comment }),
  ),
  action({ requests }, 'cancel', VERSION, (act) => requests.cancel(act)),
]

function narrowOf(narrow: Readonly<Record<string, unknown>>) {
  const { duration: given, roles } = narrow
  const seconds = typeof given === 'string' || typeof given === 'number' ? parseDuration(given) : undefined
  if ((given ?? undefined) !== undefined && seconds === undefined) {
    throw refused('narrow', 'duration is no duration')
  }
  const paths = commaList.read(roles ?? [])
  if (paths === undefined) throw refused('narrow', 'roles is no list')
  return { durationSeconds: seconds, paths: paths.length > 0 ? paths : undefined }
}
