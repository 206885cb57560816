import type { Policies } from '../policy/policies.ts'
import { alias, type Fields, required, text } from './fields.ts'
import { type SimulateParts, simulateEndpoint } from './policy-simulate.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'

/** Policy documents under both of their names, and what they come to; relative to `sys/`. */
export const sysPolicyRoutes = (parts: SimulateParts): Route[] => {
  const { policies } = parts
  return [
    { path: 'policies/acl', on: { list: list(policies), read: list(policies) } },
    { path: 'policies/acl/:name*', caseless: true, on: documentEndpoints(policies, 'policy') },
    { path: 'policy', on: { list: oldList(policies), read: oldList(policies) } },
    { path: 'policy/:name*', caseless: true, on: documentEndpoints(policies, 'rules') },
    { path: 'policies/simulate', on: { update: simulateEndpoint(parts) } },
    { path: 'internal/ui/resultant-acl', on: { read: handle({}, resultantAcl) } },
  ]
}

const list = (policies: Policies) => handle({}, async () => ({ data: { keys: await policies.names() } }))

const oldList = (policies: Policies) =>
  handle({}, async () => {
    const keys = await policies.names()
    return { data: { keys, policies: keys }, injected: true as const }
  })

const DOCUMENT_FIELDS = {
  policy: required(alias(text, 'rules'), `'policy' parameter not supplied or empty`),
} satisfies Fields

/** The old endpoints call the document `rules`, and repeat it beside the envelope's keys. */
function documentEndpoints(policies: Policies, field: 'policy' | 'rules'): Route['on'] {
  return {
    read: handle({}, async (call) => {
      const name = call.capture('name')
      const found = name === 'root' ? { name, version: 0, text: '' } : await policies.find(name)
      if (!found) return undefined
      const data = { name, [field]: found.text, version: found.version }
      return field === 'rules' ? { data, injected: true } : { data }
    }),
    update: handle(DOCUMENT_FIELDS, async (call) => {
      await policies.write(call.capture('name'), plain(call.fields.policy))
      return undefined
    }),
    delete: handle({}, async (call) => {
      await policies.remove(call.capture('name'))
      return undefined
    }),
  }
}

/** Clients may send it in base64, which no policy happens to be. */
function plain(document: string): string {
  const packed = document.replace(/\s+/g, '')
  if (!/^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(packed)) return document
  return Buffer.from(packed, 'base64').toString('utf8')
}

/**
 * What the caller's policies say, for programs that show or hide things by it; no decision rests on it. A star at the
 * end is not written, as in the dialect; a `+` is.
 */
async function resultantAcl({ policy }: Pick<Call, 'policy'>): Promise<Answer> {
  const patterns = await policy.patterns()
  if (!patterns) return { data: { root: true } }
  const granted = (wanted: boolean) =>
    Object.fromEntries(
      patterns
        .filter(({ exact }) => exact === wanted)
        .map(({ pattern, capabilities }) => [pattern.replace(/\*$/, ''), { capabilities }]),
    )
  return { data: { root: false, exact_paths: granted(true), glob_paths: granted(false) } }
}
