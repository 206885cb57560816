import type { ServerResponse } from 'node:http'
import type { AuthMounts } from '../identity/auth-mounts.ts'
import type { ConsoleSession, ConsoleSessions } from '../identity/console-sessions.ts'
import type { TokenStore } from '../identity/tokens.ts'
import type { Mounts } from '../lease/mounts.ts'
import type { ConsoleEvents } from './console-events.ts'
import { readCookie } from './console-guard.ts'
import type { Enter, Entrance, HttpRequest } from './entrance.ts'

export type ConsoleParts = {
  sessions: ConsoleSessions
  tokens: TokenStore
  mounts: Mounts
  authMounts: AuthMounts
  /** How many live leases end with a token. */
  leasesOfToken(tokenId: string): Promise<number>
  events: ConsoleEvents
  /** Where the built pages are, if they are built. */
  folder: string
  now(): Promise<Date>
}

export const SESSION_COOKIE = 'leasehold_console'
export const SESSION_PLACE = { path: '/ui/', sameSite: 'Strict' } as const

/** One request to the console, with what serving it takes. */
export type Visit = {
  parts: ConsoleParts
  req: HttpRequest
  res: ServerResponse
  enter: Enter
  /** The routes of `ui/`: an entrance to them has this for its table. */
  own: NonNullable<Entrance['reaches']>
}

/** Whose browser it is, if it is signed in. */
export async function sessionOf({ parts, req }: Visit): Promise<ConsoleSession | undefined> {
  const cookie = readCookie(req, SESSION_COOKIE)
  return cookie === undefined ? undefined : parts.sessions.find(cookie)
}
