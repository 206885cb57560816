import type { V1ObjectMeta } from '@kubernetes/client-node'
import { isObject } from '../../lib/objects.ts'
import { AnswerTooLong } from '../../lib/read-answer.ts'
import type { Account } from '../engine.ts'
import { type Api, isStatus, KubernetesRefusal } from './api.ts'
import { ALL_KINDS, accountOf, type Kind, OUR_OBJECTS, pathOf } from './objects.ts'

const PAGE = 200
/** What is asked for of each object: what it holds is none of our business. */
const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'

/**
 * Every lease of which the cluster has something that carries our mark, in pages. First by the Secrets, which most
 * have; then what is left of those whose Secret is gone.
 */
export async function* listAccounts(api: Api): AsyncIterable<Account> {
  const seen = new Set<string>()
  for (const kind of ALL_KINDS) {
    for await (const metadata of listed(api, kind)) {
      const account = accountOf(metadata)
      if (!account || seen.has(account.leaseId)) continue
      seen.add(account.leaseId)
      yield kind === 'Secret' ? { ...account, targetRef: metadata.uid ?? null } : account
    }
  }
}

async function* listed(api: Api, kind: Kind): AsyncIterable<V1ObjectMeta> {
  let next = ''
  do {
    const page = await pageOf(api, kind, next, PAGE)
    yield* page.items
    next = page.next
  } while (next !== '')
}

type Page = { items: V1ObjectMeta[]; next: string }

async function pageOf(api: Api, kind: Kind, next: string, limit: number): Promise<Page> {
  const query = { labelSelector: OUR_OBJECTS, limit: String(limit), ...(next !== '' && { continue: next }) }
  try {
    const { body } = await api.ask('ending', { path: pathOf(kind), query, accept: METADATA_ONLY })
    const items = Array.isArray(body.items) ? body.items : []
    const more = isObject(body.metadata) ? body.metadata.continue : undefined
    return {
      items: items.map((item: { metadata?: V1ObjectMeta }) => item.metadata ?? {}),
      next: typeof more === 'string' ? more : '',
    }
  } catch (error) {
    // The snapshot that the pages were of is gone: on with what there is now, from the same place.
    const from = error instanceof KubernetesRefusal ? error.continueFrom : undefined
    if (next !== '' && isStatus(error, 410)) return pageOf(api, kind, from ?? '', limit)
    // Whoever may annotate an object makes it as long as a hundred others.
    if (limit > 1 && isTooLong(error)) return pageOf(api, kind, next, Math.ceil(limit / 8))
    throw error
  }
}

const isTooLong = (error: unknown): boolean =>
  error instanceof AnswerTooLong || (error instanceof Error && isTooLong(error.cause))
