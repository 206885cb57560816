import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Provider } from 'oidc-provider'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import { PEOPLE, PROOFS } from './people-known.ts'
import { contentSecurity, problemPage, signInPage } from './people-pages.ts'
import { openProvider } from './people-provider.ts'

/** An OpenID provider whose people anybody may play: for trying Leasehold out, and reachable from this machine alone. */
export type People = {
  issuer: string
  clientSecret: Sensitive
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const FORM_LIMIT_BYTES = 4_096

/** Takes `port` when it is free, else any. Sends people back to `redirectUris` and nowhere else. */
export async function startPeople(
  { port, redirectUris }: { port: number; redirectUris: readonly string[] },
  log: Logger,
): Promise<People> {
  const server = createServer()
  await listen(server, port).catch(() => listen(server, 0))
  const host = `${HOST}:${(server.address() as AddressInfo).port}`
  const issuer = `http://${host}`
  try {
    const { provider, clientSecret } = await openProvider({ issuer, redirectUris }, log)
    const callback = provider.callback()
    server.on('request', (req, res) => {
      // A name that somebody else's page gave this address: that page must not press the buttons here.
      if (req.headers.host !== host) return void res.writeHead(421).end()
      if (!req.url?.startsWith('/interaction/')) return void callback(req, res)
      answer(provider, req, res).catch((error) => {
        log.debug({ error: messageOf(error) }, 'a sign-in of a sample person failed')
        send(res, 400, problemPage('This sign-in is over.'))
      })
    })
    return { issuer, clientSecret, stop: () => stop(server) }
  } catch (error) {
    await stop(server)
    throw error
  }
}

/** Shows who may be played, or takes the choice. Throws when the browser has no sign-in in hand here. */
async function answer(provider: Provider, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { uid, params } = await provider.interactionDetails(req, res)
  if (req.method !== 'POST') {
    const again = params.max_age !== undefined || params.prompt === 'login'
    const { origin } = new URL(String(params.redirect_uri))
    return send(res, 200, signInPage({ action: `/interaction/${uid}`, again }), origin)
  }
  const form = new URLSearchParams(await textOf(req))
  const person = PEOPLE.find(({ sub }) => sub === form.get('person'))
  const proof = PROOFS.find(({ id }) => id === form.get('proof'))
  const result =
    person && proof
      ? { login: { accountId: person.sub, amr: [...proof.amr], acr: proof.acr } }
      : { error: 'access_denied', error_description: 'the person chose nobody' }
  await provider.interactionFinished(req, res, result)
}

async function textOf(req: IncomingMessage): Promise<string> {
  let text = ''
  for await (const part of req.setEncoding('utf8')) {
    text += part
    if (text.length > FORM_LIMIT_BYTES) throw new Error('the form is too long')
  }
  return text
}

function send(res: ServerResponse, status: number, html: string, origin?: string): void {
  res
    .writeHead(status, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': contentSecurity(origin),
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    })
    .end(html)
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, HOST)
  await once(server, 'listening')
}

async function stop(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}
