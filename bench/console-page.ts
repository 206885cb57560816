import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Installation } from './world.ts'

/** A console that somebody has open: a session of its own, and the stream of what changes. */
type OpenPage = {
  /** Waits until it is told of this lease. */
  hears(id: string): Promise<void>
  /** Throws when it could not read what it shows. */
  close(): void
}

/** With `shows`, it asks for that again whenever it hears of a change, with pauses as the console's own (`live.ts`). */
export async function openPage({ url, token }: Installation, shows?: string): Promise<OpenPage> {
  const headers = { 'Leasehold-Console': '1', Origin: url, 'Content-Type': 'application/json' }
  const signedIn = await fetch(`${url}/ui/session`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ token }),
  })
  const cookie = (signedIn.headers.get('set-cookie') ?? '').split(';', 1)[0] ?? ''
  const sent = request(`${url}/ui/events`, { agent: false, headers: { Cookie: cookie } }).end()
  const [stream] = (await once(sent, 'response')) as [IncomingMessage]
  if (stream.statusCode !== 200) throw new Error(`the stream of events answered ${stream.statusCode}`)
  let heard = ''
  let closed = false
  stream.setEncoding('utf8').on('data', (text: string) => {
    heard += text
    if (shows !== undefined && text.includes('event: change')) void readAgain()
  })
  stream.on('error', () => {})

  let reading = false
  let changed = false
  let failure: unknown
  const read = async (): Promise<void> => {
    const answer = await fetch(`${url}/ui/v1/${shows}`, { headers: { ...headers, Cookie: cookie } })
    if (!answer.ok) throw new Error(`${shows} answered ${answer.status}`)
    await answer.arrayBuffer()
  }
  const readAgain = async (): Promise<void> => {
    changed = true
    if (reading) return
    reading = true
    while (changed && !closed) {
      changed = false
      const startedAt = performance.now()
      await read().catch((error: unknown) => {
        failure ??= closed ? undefined : error
      })
      await sleep(Math.min(2_000, Math.max(500, 4 * (performance.now() - startedAt))))
    }
    reading = false
  }
  const until = async (text: string): Promise<void> => {
    while (!heard.includes(text)) await once(stream, 'data')
    heard = ''
  }
  await until('event: hello')
  return {
    hears: until,
    close() {
      closed = true
      sent.destroy()
      if (failure !== undefined) throw failure
    },
  }
}
