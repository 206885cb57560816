import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Answered = {
  status: number
  headers: IncomingHttpHeaders
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
  json: any
}

export type Asking = { body?: unknown; headers?: Record<string, string>; path: string; method?: string }

/** A request as it is written, whatever a browser's `fetch` would make of its headers. */
export function ask(url: string, { path, method = 'GET', body, headers = {} }: Asking): Promise<Answered> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  // Node says no length of what a DELETE carries.
  const sized =
    text === undefined ? headers : { ...headers, 'content-length': String(Buffer.byteLength(text)) }
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { method, headers: sized, path, agent: false }, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.once('end', () => {
        const answer = Buffer.concat(chunks).toString('utf8')
        const isJson = res.headers['content-type']?.startsWith('application/json') && answer !== ''
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          text: answer,
          json: isJson ? JSON.parse(answer) : undefined,
        })
      })
    })
    sent.once('error', reject)
    sent.end(text)
  })
}

/** A browser with the console open: it keeps cookies, and says where its requests come from. */
export type Browser = {
  cookies: Map<string, string>
  visit(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answered>
  signIn(token: string): Promise<Answered>
  /** Opens the stream of events. */
  follow(): Promise<Stream>
}

export type Stream = {
  status: number
  /** The next event that `wanted` takes; rejects when the stream ends first. */
  next(wanted: (event: StreamEvent) => boolean): Promise<StreamEvent>
  ended: Promise<void>
  close(): void
}

// biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
export type StreamEvent = { event: string; data: any }

export function openBrowser(url: string): Browser {
  const cookies = new Map<string, string>()
  const cookieHeader = () => [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const keep = (headers: IncomingHttpHeaders): void => {
    for (const line of headers['set-cookie'] ?? []) {
      const [pair = ''] = line.split(';')
      const [name = '', value = ''] = pair.split('=')
      if (/max-age=0/i.test(line)) cookies.delete(name)
      else cookies.set(name, value)
    }
  }
  const visit: Browser['visit'] = async (method, path, body, headers = {}) => {
    const answer = await ask(url, {
      path,
      method,
      body,
      headers: {
        ...(cookies.size > 0 && { cookie: cookieHeader() }),
        'leasehold-console': '1',
        'sec-fetch-site': 'same-origin',
        ...(method !== 'GET' && { origin: url }),
        ...headers,
      },
    })
    keep(answer.headers)
    return answer
  }
  return {
    cookies,
    visit,
    signIn: (token) => visit('POST', '/ui/session', { token }),
    follow: () => openStream(`${url}/ui/events`, { cookie: cookieHeader(), 'sec-fetch-site': 'same-origin' }),
  }
}

function openStream(url: string, headers: Record<string, string>): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers, agent: false }, (res) =>
      resolve(streamOf(res, () => sent.destroy())),
    )
    sent.once('error', reject)
    sent.end()
  })
}

function streamOf(res: IncomingMessage, close: () => void): Stream {
  const events: StreamEvent[] = []
  let waiting: (() => void)[] = []
  let over = false
  let rest = ''
  const wake = (): void => {
    for (const resume of waiting.splice(0)) resume()
  }
  res.setEncoding('utf8')
  res.on('data', (chunk: string) => {
    const parts = `${rest}${chunk}`.split('\n\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      const [, event = ''] = /^event: (.*)$/m.exec(part) ?? []
      const [, data = 'null'] = /^data: (.*)$/m.exec(part) ?? []
      events.push({ event, data: JSON.parse(data) })
    }
    wake()
  })
  res.on('error', () => {})
  const ended = new Promise<void>((resolve) => {
    res.once('close', () => {
      over = true
      resolve()
      wake()
    })
  })
  return {
    status: res.statusCode ?? 0,
    async next(wanted) {
      for (;;) {
        const at = events.findIndex(wanted)
        const [found] = at < 0 ? [] : events.splice(0, at + 1).slice(-1)
        if (found) return found
        if (over) throw new Error('the stream ended')
        await new Promise<void>((resolve) => {
          waiting = [...waiting, resolve]
        })
      }
    },
    ended,
    close,
  }
}

/** Built pages as they come out of the bundler, in a folder of the test's own; a file that is none of them beside it. */
export async function builtPages(): Promise<{ folder: string; remove(): Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'leasehold-console-'))
  const folder = join(root, 'console')
  await mkdir(join(folder, 'assets'), { recursive: true })
  await writeFile(join(root, 'secret.txt'), 'not for the web')
  await writeFile(
    join(folder, 'index.html'),
    '<!doctype html><meta name="csp-nonce" content="__CSP_NONCE__"><script type="module" src="/ui/assets/main-1a2b.js"></script>',
  )
  await writeFile(join(folder, 'assets', 'main-1a2b.js'), 'export const page = 1\n'.repeat(50))
  await writeFile(join(folder, 'icon.svg'), '<svg xmlns="http://www.w3.org/2000/svg"/>')
  return { folder, remove: () => rm(root, { recursive: true }) }
}
