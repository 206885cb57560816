import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AccessParts, Request } from './access.ts'
import type { WireReply } from './envelope.ts'
import type { Parameters } from './ports.ts'

export type Reachable = Pick<AccessParts, 'findMount' | 'routesOf'>

export type HttpRequest = IncomingMessage & { originalUrl: string }

/** A way in besides `/v1/`, whose requests go through the same checks and stand on the same record. */
export type Entrance = {
  /** What it is as a request under `/v1/`. */
  url: string
  token: string | undefined
  /** In place of the body or the query. */
  parameters?: Parameters
  /** What can be reached through it, of everything there is. */
  reaches?(all: Reachable): Reachable
  /** Makes of a good answer what its caller gets; throws to refuse it after all. Part of what is put on record. */
  finish?(reply: WireReply, request: Request): Promise<WireReply>
  /** How the caller is told, whatever came of it. */
  told?(reply: WireReply, request: Request): WireReply
}

/** Serves a request by way of an entrance, to the end. */
export type Enter = (entrance: Entrance) => Promise<void>

export type Console = {
  takes(url: string): boolean
  serve(req: HttpRequest, res: ServerResponse, enter: Enter): Promise<void>
}
