import { within } from '../lib/pause.ts'
import { SecretStoreError } from './secret-store.ts'

/** What every store does in the same way. */

/** The answer of a system outside, or kind `unreachable` when there was none in time: clients' own limits have gaps. */
export async function answered<T>(system: string, answer: Promise<T>, ms: number): Promise<T> {
  if (await within(answer, ms)) return answer
  answer.catch(() => {}) // it comes too late to be told
  throw new SecretStoreError('unreachable', `${system} did not answer within ${ms / 1_000} s`)
}

/** Writers of one name that meet each other again and again are a bug, not traffic. */
const PUT_ATTEMPTS = 5

/** `SecretStore.put` over a system that can put after a known version: without one to go by, after the newest. */
export async function putOver(
  name: string,
  ifVersion: number | undefined,
  system: {
    /** 0 when there is none. */
    newest(): Promise<number>
    /** False when the newest is another. */
    putAfter(version: number): Promise<boolean>
  },
): Promise<number> {
  for (let attempt = 0; attempt < PUT_ATTEMPTS; attempt++) {
    const version = ifVersion ?? (await system.newest())
    if (await system.putAfter(version)) return version + 1
    if (ifVersion !== undefined) break
  }
  throw new SecretStoreError('conflict', `someone else changed the secret ${name} at the same time`)
}
