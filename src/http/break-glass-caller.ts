import type { Caller } from '../breakglass/access-parts.ts'
import { type Actor, actorOf } from '../breakglass/actor.ts'
import { fieldsOf } from '../breakglass/plan.ts'
import type { Requests, Viewer, WholeRequest } from '../breakglass/requests.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Reply } from './envelope.ts'
import type { Call } from './route.ts'

/** Whoever calls, as break-glass knows them: by what they have proved, and by nothing that they send. */
export const callerActor = ({ principal, source }: Pick<Call, 'principal' | 'source'>): Actor =>
  actorOf(principal, source)

/** Policy asked as it stands for somebody, here and now: by writing where credentials are had by writing. */
export const decidingOn =
  (policy: Call['policy'], principal: Call['principal']): Caller['decide'] =>
  (role, approvedAs) =>
    policy.decide({
      principal,
      operation: role.engine === 'kubernetes' ? 'update' : 'read',
      path: role.path,
      parameters: fieldsOf(role),
      approvedAs,
    })

/** Root, and whoever has `sudo` on the requests, sees what is none of theirs; to act takes more than that. */
export async function viewerOf(call: Pick<Call, 'principal' | 'source' | 'policy'>): Promise<Viewer> {
  const capabilities = await call.policy.capabilities('break-glass/requests')
  return { actor: callerActor(call), seesAll: capabilities.includes('root') || capabilities.includes('sudo') }
}

/** A request as its caller may see it now; 404 where they may not. */
export async function requestReply(requests: Requests, id: string, viewer: Viewer): Promise<Reply> {
  const request: WholeRequest | undefined = await requests.view(id, viewer)
  if (!request) throw new BrokerError('not_found', '')
  return { data: request }
}
