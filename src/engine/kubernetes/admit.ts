import { BrokerError } from '../../lib/errors.ts'
import { parseSelector, selects } from '../../lib/kubernetes/selector.ts'
import { isObject } from '../../lib/objects.ts'
import type { Spec } from '../engine.ts'
import { type Api, isAbsent } from './api.ts'
import { isListed, namespaceOf, notAllowed, readTie } from './ask.ts'
import { isGone } from './ties.ts'

/** What only the cluster can tell: the labels of the namespace, and that what the lease is to be tied to is there. */
export async function admit(api: Api, { role, asked }: { role: Spec; asked: Spec }): Promise<void> {
  const namespace = namespaceOf(role, asked)
  const selector = role.allowed_kubernetes_namespace_selector as string | undefined
  if (!isListed(role, namespace)) {
    const labels = await labelsOf(api, namespace)
    if (selector === undefined || !selects(await parseSelector(selector), labels)) throw notAllowed(namespace)
  }
  const tie = readTie(asked)
  if (tie && (await isGone(api, 'issuing', { namespace, ...tie }))) {
    throw new BrokerError(
      'invalid_request',
      `there is no ${tie.kind} ${namespace}/${tie.name} with the UID ${tie.uid} that is still at work`,
    )
  }
}

async function labelsOf(api: Api, namespace: string): Promise<Record<string, string>> {
  const { body } = await api
    .ask('issuing', { path: `/api/v1/namespaces/${namespace}` })
    .catch((error: unknown) => {
      throw isAbsent(error, namespace) ? notAllowed(namespace) : error
    })
  const labels = isObject(body.metadata) ? body.metadata.labels : undefined
  return isObject(labels) ? (labels as Record<string, string>) : {}
}
