import type { Caller } from '../breakglass/access-parts.ts'
import type { Granted } from '../breakglass/credentials.ts'
import type { Requests } from '../breakglass/requests.ts'
import { action, COMMENTED, type Parts, present, REASON, SEEN, VERSION } from './break-glass-action.ts'
import { callerActor, decidingOn, requestReply, viewerOf } from './break-glass-caller.ts'
import type { Reply } from './envelope.ts'
import { commaList, defaulted, duration, type Fields, required, text } from './fields.ts'
import { shownTerms } from './lease-answers.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'

/** What people do with access that was approved; relative to `break-glass/`. */
export const breakGlassAccessRoutes = (parts: Parts): Route[] => [
  ...receivingRoutes(parts),
  ...decidingRoutes(parts),
  ...endingRoutes(parts),
]

const receivingRoutes = ({ requests, grantAccess }: Parts): Route[] => [
  {
    path: 'requests/:id/activate',
    on: {
      update: handle(
        VERSION,
        async (call) =>
          received(
            requests,
            call,
            await grantAccess.activate(callerOf(call), {
              grantId: call.capture('id'),
              version: call.fields.version,
            }),
          ),
        { grants: true },
      ),
    },
  },
  {
    path: 'requests/:id/collect',
    on: {
      update: handle(
        { ...VERSION, roles: commaList },
        async (call) =>
          received(
            requests,
            call,
            await grantAccess.collect(callerOf(call), {
              grantId: call.capture('id'),
              version: call.fields.version,
              paths: call.fields.roles,
            }),
          ),
        { grants: true },
      ),
    },
  },
]

/** Whoever is at the door, with policy asked as it stands for them, here and now. */
const callerOf = (call: Call): Caller => ({
  actor: callerActor(call),
  principal: call.principal,
  reading: call.reading,
  decide: decidingOn(call.policy, call.principal),
  onUndelivered: (undo) => call.onUndelivered(undo),
})

/** The only answers of break-glass with a secret in them. */
async function received(requests: Requests, call: Call, granted: readonly Granted[]): Promise<Answer> {
  const { data } = await requestReply(requests, call.capture('id'), await viewerOf(call))
  return { data: { request: data, credentials: granted.map(shownCredential) } }
}

const shownCredential = ({ role, issued, connect }: Granted): NonNullable<Reply['data']> => ({
  path: role.path,
  engine: role.engine,
  target: role.target,
  connect,
  lease_id: issued.leaseId,
  lease_duration: issued.terms.ttlSeconds,
  renewable: issued.renewable,
  data: Object.fromEntries(
    Object.entries(issued.secret).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : value.reveal(),
    ]),
  ),
  warnings: issued.warnings,
  leasehold: shownTerms(issued.terms),
})

const decidingRoutes = (parts: Parts): Route[] => {
  const { extensions, ratifications, suspend, resume } = parts.grantAccess
  return [
    action(
      parts,
      'extend',
      { ...REASON, duration: required(duration, 'missing duration: how much more') },
      (act, { duration: seconds, reason }) =>
        extensions.ask({ ...act, seconds, reason: present('reason', reason) }),
    ),
    action(parts, 'approve-extension', SEEN, (act, { plan_hash, comment }) =>
      extensions.approve({ ...act, planHash: plan_hash, comment }),
    ),
    action(parts, 'deny-extension', COMMENTED, (act, { comment }) =>
      extensions.deny({ ...act, comment: present('comment', comment) }),
    ),
    action(parts, 'suspend', REASON, (act, { reason }) =>
      suspend({ ...act, reason: present('reason', reason) }),
    ),
    action(parts, 'resume', COMMENTED, (act, { comment }) => resume({ ...act, comment })),
    action(parts, 'ratify', SEEN, (act, { plan_hash, comment }) =>
      ratifications.ratify({ ...act, planHash: plan_hash, comment }),
    ),
    action(parts, 'refuse-ratification', SEEN, (act, { plan_hash, comment }) =>
      ratifications.refuse({ ...act, planHash: plan_hash, comment: present('comment', comment) }),
    ),
  ]
}

const WHY = { ...VERSION, reason: defaulted(text, '') } satisfies Fields

const endingRoutes = (parts: Parts): Route[] => {
  const { end, incidentClosed, requesterDisabled, abandon } = parts.grantAccess
  return [
    action(parts, 'end', WHY, (act, { reason }) => end({ ...act, reason })),
    action(parts, 'incident-closed', WHY, async (act, { reason }, call) => {
      const capabilities = await call.policy.capabilities(call.path)
      const isTrusted = capabilities.includes('sudo') || capabilities.includes('root')
      const isIncidentSystem = isTrusted && act.actor.kind === 'workload'
      await incidentClosed({ ...act, reason }, { isIncidentSystem })
    }),
    action(
      parts,
      'abandon',
      { ...REASON, evidence: required(text, 'missing evidence: how do you know that it is gone?') },
      (act, { reason, evidence }) =>
        abandon({ ...act, reason: present('reason', reason), evidence: present('evidence', evidence) }),
    ),
    {
      path: 'disabled-requesters/:id',
      on: {
        update: handle(
          {},
          async (call) => ({
            data: { requests: await requesterDisabled(callerActor(call), call.capture('id')) },
          }),
          { sudo: true },
        ),
      },
    },
  ]
}
