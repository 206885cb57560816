import { isObject } from '../../lib/objects.ts'
import type { Account, Lane } from '../engine.ts'
import { type Api, isAbsent } from './api.ts'
import { placeOf } from './name.ts'
import { type Kind, objectPath } from './objects.ts'

/** held: it is to go, and stays until somebody's finalizer lets go of it. */
type Outcome = 'absent' | 'deleted' | 'held'

/**
 * Whether there was such an object of the account's until now. Deleting is also how absence is proved: for looking,
 * the right to read Secrets would be needed, and with it those of everybody else.
 */
export async function deleteObject(
  api: Api,
  lane: Lane,
  kind: Kind,
  account: Pick<Account, 'name'>,
): Promise<Outcome> {
  try {
    const { body } = await api.ask(lane, {
      method: 'DELETE',
      path: objectPath(kind, account),
      body: { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background' },
    })
    return isObject(body.metadata) && body.metadata.deletionTimestamp ? 'held' : 'deleted'
  } catch (error) {
    if (isAbsent(error, placeOf(account).name)) return 'absent'
    throw error
  }
}

/** Those that were there until now, of the kinds asked about. */
export async function deleteObjects(
  api: Api,
  kinds: readonly Kind[],
  account: Pick<Account, 'name'>,
): Promise<{ kind: Kind; isHeld: boolean }[]> {
  const outcomes = await Promise.allSettled(kinds.map((kind) => deleteObject(api, 'ending', kind, account)))
  return outcomes.flatMap((outcome, i) => {
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value === 'absent' ? [] : [{ kind: kinds[i] as Kind, isHeld: outcome.value === 'held' }]
  })
}
