import { isObject } from '../../lib/objects.ts'
import type { Capabilities } from '../engine.ts'
import { type Api, KubernetesRefusal } from './api.ts'

type Right = { verb: string; group?: string; resource: string; subresource?: string }

const RBAC = 'rbac.authorization.k8s.io'
const right = (verb: string, resource: string, group = '', subresource = ''): Right => ({
  verb,
  resource,
  group,
  subresource,
})
const rights = (verbs: string, resources: string[], group = ''): Right[] =>
  resources.flatMap((resource) => verbs.split(' ').map((verb) => right(verb, resource, group)))

/** Without these there is no lease, or none that could be ended. */
const NEEDED: Right[] = [
  ...rights('create delete', ['secrets']),
  right('create', 'serviceaccounts', '', 'token'),
]

/** What does not work where one is missing. */
const USEFUL: { without: string; rights: Right[] }[] = [
  {
    without: 'the end of a lease is not proved by a TokenReview',
    rights: [right('create', 'tokenreviews', 'authentication.k8s.io')],
  },
  {
    without: 'roles with kubernetes_role_name or generated_role_rules give no leases',
    rights: [
      ...rights('create delete', ['serviceaccounts']),
      ...rights('create delete', ['rolebindings', 'clusterrolebindings'], RBAC),
    ],
  },
  {
    without: 'kubernetes_role_name gives only what the admin account may do itself',
    rights: rights('bind', ['roles', 'clusterroles'], RBAC),
  },
  {
    without: 'generated_role_rules give no more than what the admin account may do itself, or nothing',
    rights: rights('create delete escalate', ['roles', 'clusterroles'], RBAC),
  },
  {
    without: 'the scan for what no lease holds misses some',
    rights: [
      ...rights('list', ['secrets', 'serviceaccounts']),
      ...rights('list', ['roles', 'rolebindings', 'clusterroles', 'clusterrolebindings'], RBAC),
    ],
  },
  { without: 'no namespace is found by its labels', rights: [right('get', 'namespaces')] },
  {
    without: 'no lease can be tied to a Pod or a Job',
    rights: [...rights('get list watch', ['pods']), ...rights('get list watch', ['jobs'], 'batch')],
  },
]

export async function probeTarget(api: Api): Promise<Capabilities> {
  const startedMs = Date.now()
  const { body, date } = await api.ask('ending', { path: '/version' })
  const measuredMs = (startedMs + Date.now()) / 2
  const [missing, warnings, serverId] = await Promise.all([
    lacking(api, NEEDED),
    Promise.all(
      USEFUL.map(async ({ without, rights }) => {
        const lacks = await lacking(api, rights)
        return lacks.length === 0 ? [] : [`${without}: the admin account may not ${lacks.join(', ')}`]
      }),
    ),
    clusterId(api),
  ])
  return {
    serverVersion: String(body.gitVersion ?? ''),
    ...(serverId !== undefined && { serverId }),
    // The header tells whole seconds, so that half of one is as near as it gets.
    clockSkewMs: date === '' ? 0 : Math.round(Date.parse(date) + 500 - measuredMs),
    revocability: 'immediate',
    missing,
    warnings: warnings.flat(),
  }
}

async function lacking(api: Api, wanted: readonly Right[]): Promise<string[]> {
  const allowed = await Promise.all(wanted.map((each) => mayDo(api, each)))
  return wanted.filter((_, i) => !allowed[i]).map(shown)
}

const shown = ({ verb, resource, subresource }: Right): string =>
  `${verb} ${resource}${subresource ? `/${subresource}` : ''}`

async function mayDo(api: Api, { verb, group, resource, subresource }: Right): Promise<boolean> {
  const { body } = await api.ask('ending', {
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb, group, resource, subresource } },
    },
  })
  return isObject(body.status) && body.status.allowed === true
}

/** Every cluster has this namespace from its first moment to its last. */
async function clusterId(api: Api): Promise<string | undefined> {
  try {
    const { body } = await api.ask('ending', { path: '/api/v1/namespaces/kube-system' })
    const uid = isObject(body.metadata) ? body.metadata.uid : undefined
    return typeof uid === 'string' ? uid : undefined
  } catch (error) {
    if (error instanceof KubernetesRefusal) return undefined
    throw error
  }
}
