import { shownName } from '../breakglass/actor.ts'
import type { ConsoleSession } from '../identity/console-sessions.ts'
import { BrokerError } from '../lib/errors.ts'
import { isRoot } from '../policy/authorize.ts'
import { principalId } from '../policy/principal.ts'
import type { ConsoleParts } from './console-visit.ts'
import type { WireReply } from './envelope.ts'
import { handleOpen, type OpenCall, type Route } from './route.ts'

/** What a page hides from who may not have it; policy decides again when it is asked for. */
const MAY = {
  leases: ['read', 'sys/leasehold/leases'],
  revoke: ['update', 'sys/leasehold/leases/revoke'],
  targets: ['read', 'sys/leasehold/targets'],
  summary: ['read', 'sys/leasehold/summary'],
  audit: ['sudo', 'sys/leasehold/audit'],
  break_glass: ['read', 'break-glass/requests'],
  policies: ['update', 'break-glass/policies/any'],
} as const

/** Whether ids of what changed may be told, by topic. */
// Whoever may ask sees their own requests, and of everybody's the ids no more than the rest.
const IDS = { leases: MAY.leases, grants: ['sudo', 'break-glass/requests'], targets: MAY.targets } as const

/** What the console asks of the server about itself, relative to `ui/`: no part of the API. */
export function consoleRoutes(parts: Omit<ConsoleParts, 'folder' | 'events' | 'sessions'>): Route[] {
  const whoAmI = handleOpen({}, async (call) => ({ bare: await shownCaller(parts, call) }), {
    readToken: true,
  })
  return [
    {
      path: 'session',
      on: {
        read: whoAmI,
        update: whoAmI,
        delete: handleOpen({}, async () => undefined, { readToken: true }),
      },
    },
    { path: 'session/methods', on: { read: handleOpen({}, async () => ({ bare: await methods(parts) })) } },
    {
      path: 'events',
      on: {
        read: handleOpen(
          {},
          async (call) => {
            signedIn(call)
            return { bare: { may_see: await allowed(call, IDS) } }
          },
          { readToken: true },
        ),
      },
    },
  ]
}

function signedIn({ principal }: OpenCall) {
  if (!principal) throw new BrokerError('permission_denied', 'permission denied')
  return principal
}

async function allowed<Name extends string>(
  { policy }: OpenCall,
  asked: Readonly<Record<Name, readonly [string, string]>>,
): Promise<Record<Name, boolean>> {
  const entries = await Promise.all(
    Object.entries<readonly [string, string]>(asked).map(async ([name, [wanted, path]]) => {
      const capabilities = await policy.capabilities(path)
      return [name, capabilities.includes('root') || capabilities.includes(wanted)] as const
    }),
  )
  return Object.fromEntries(entries) as Record<Name, boolean>
}

async function shownCaller(parts: Pick<ConsoleParts, 'tokens' | 'leasesOfToken'>, call: OpenCall) {
  const principal = signedIn(call)
  const { identity } = principal
  const [token, ends, may] = await Promise.all([
    parts.tokens.lookupSelf(principal),
    parts.leasesOfToken(principal.tokenId),
    allowed(call, MAY),
  ])
  return {
    display_name: shownName(principal),
    kind: identity.kind,
    mount: identity.mount,
    subject: identity.subject,
    groups: identity.groups,
    auth_time: identity.authTime === undefined ? null : new Date(identity.authTime * 1_000).toISOString(),
    amr: identity.amr ?? [],
    acr: identity.acr ?? null,
    principal_id: principalId(principal),
    accessor: principal.accessor,
    policies: principal.policies,
    root: isRoot(principal),
    token_expires_at: token.expiresAt?.toISOString() ?? null,
    token_renewable: token.renewable,
    ends_leases: ends,
    now: token.now.toISOString(),
    may,
  }
}

/** Adds to who it is how and until when they are signed in. */
export function shownSession(reply: WireReply, { signedInBy, expiresAt }: ConsoleSession): WireReply {
  if (reply.body === undefined) return reply
  const shown = {
    ...JSON.parse(reply.body),
    signed_in_by: signedInBy.way,
    oidc: signedInBy.way === 'oidc' ? { mount: signedInBy.mount, role: signedInBy.role } : null,
    webauthn: signedInBy.way === 'webauthn' ? { mount: signedInBy.mount } : null,
    session_expires_at: expiresAt.toISOString(),
  }
  // Only the ways of signing out that end something have leases to warn of.
  if (signedInBy.way === 'token') shown.ends_leases = 0
  return { ...reply, body: `${JSON.stringify(shown)}\n` }
}

/** Anyone may know: it is what a sign-in page shows. */
async function methods({ mounts, authMounts, now }: Pick<ConsoleParts, 'mounts' | 'authMounts' | 'now'>) {
  const all = await mounts.list()
  const shown = async (wanted: string, more: (spec: Record<string, unknown>) => object) => {
    const found = all.filter(({ type, path }) => type === wanted && path.startsWith('auth/'))
    const configured = await Promise.all(
      found.map(async ({ id, path, description }) => {
        const config = await authMounts.config(id)
        if (!config) return []
        return [{ mount: path.slice('auth/'.length), path, description, ...more(config) }]
      }),
    )
    return configured.flat()
  }
  const oidc = await shown('oidc', (config) => {
    const { default_role: role } = (config.config ?? config) as { default_role?: unknown }
    return { default_role: typeof role === 'string' ? role : '' }
  })
  // Where keys work: on a page of another origin, the browser would not even ask for one.
  const webauthn = await shown('webauthn', ({ origins }) => ({ origins }))
  return { token: true, oidc, webauthn, now: (await now()).toISOString() }
}
