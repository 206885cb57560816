import { startAuthentication, startRegistration } from '@simplewebauthn/browser'
import { useQuery } from '@tanstack/react-query'
import { ask, askSession } from './api.ts'
import { queryClient } from './query-client.ts'
import { type Session, setSession } from './session.ts'

/** A mount where people sign in by security keys. */
export type KeyMethod = {
  mount: string
  path: string
  description: string
  /** Of the pages on which browsers ask for a key. */
  origins: string[]
}

export type SecurityKey = {
  id: string
  name: string
  hardware_bound: boolean
  created_at: string
  last_used_at: string | null
}

/** Where the keys of a mount work, when that is not here. */
export const elsewhere = ({ origins }: KeyMethod, here = window.location.origin): string | undefined =>
  origins.includes(here) ? undefined : origins[0]

export const useKeyMethods = () =>
  useQuery({
    queryKey: ['methods'],
    queryFn: () => askSession<{ webauthn: KeyMethod[] }>('/methods'),
    refetchInterval: false,
  })

/** Asks the browser for a key, and signs in as its owner. `again`: whoever is signed in already stays on their page. */
export async function signInByKey(mount: string, { again = false } = {}): Promise<void> {
  const begun = await askSession<{
    data: { options: Parameters<typeof startAuthentication>[0]['optionsJSON'] }
  }>('/webauthn/begin', { method: 'POST', body: { mount } })
  const credential = await startAuthentication({ optionsJSON: begun.data.options }).catch(plainly)
  await askSession('/webauthn/finish', { method: 'POST', body: { mount, credential } })
  if (again) await queryClient.invalidateQueries()
  else setSession(await askSession<Session>(''))
}

/** Has the browser make a key, and keeps it under a name. */
export async function enrolKey({ path }: KeyMethod, name: string): Promise<void> {
  const { options } = await ask<{ options: Parameters<typeof startRegistration>[0]['optionsJSON'] }>(
    `${path}register/begin`,
    { method: 'POST', body: {} },
  )
  const credential = await startRegistration({ optionsJSON: options }).catch(plainly)
  await ask(`${path}register/finish`, { method: 'POST', body: { credential, name } })
}

/** Browsers say the same of a key that is not there, of one that is refused and of somebody who changed their mind. */
function plainly(error: unknown): never {
  const name = error instanceof Error ? error.name : ''
  if (name === 'NotAllowedError')
    throw new Error('No security key was used: it took too long, or was called off')
  if (name === 'InvalidStateError') throw new Error('This security key is yours already')
  throw error
}
