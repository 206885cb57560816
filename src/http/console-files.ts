import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join, sep } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { pageCsp, setSecurityHeaders } from './console-guard.ts'
import { send } from './envelope.ts'

/** Stands in the page wherever the nonce of its styles is to be. */
const NONCE_MARK = '__CSP_NONCE__'

const TYPES: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  ico: 'image/x-icon',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json',
  png: 'image/png',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
  webmanifest: 'application/manifest+json',
  woff2: 'font/woff2',
}

const PACKED = /^(?:text|application)\/|svg/

type File = { type: string; body: Buffer; packed: Buffer | undefined; hashed: boolean }
type Files = { index: string; byPath: ReadonlyMap<string, File> }

/**
 * The built pages below `folder`, read once and served from memory: a request's path is only ever looked up among the
 * names that were found there, so it cannot lead anywhere else.
 */
export function consoleFiles(folder: string) {
  let reading: Promise<Files> | undefined
  const files = (): Promise<Files> =>
    (reading ??= readAll(folder).catch((error) => {
      // Built later, they are found later.
      reading = undefined
      throw error
    }))

  /** Answers for `path`, which begins behind `/ui/`. What is no file is a page, and pages are all the same one. */
  return async (req: IncomingMessage, res: ServerResponse, path: string): Promise<void> => {
    const found = await files().catch(() => undefined)
    if (!found) return plain(res, 404, 'the console is not part of this build; npm run build makes it')
    if (req.method !== 'GET' && req.method !== 'HEAD') return plain(res, 405, 'only GET here')
    const file = found.byPath.get(path)
    if (file) return sendFile(req, res, file)
    if (path.startsWith('assets/')) return plain(res, 404, 'there is no such file')
    sendPage(res, found.index)
  }
}

function sendPage(res: ServerResponse, index: string): void {
  const nonce = randomBytes(18).toString('base64')
  setSecurityHeaders(res, pageCsp(nonce))
  send(res, { status: 200, type: TYPES.html as string, body: index.replaceAll(NONCE_MARK, nonce) })
}

function sendFile(req: IncomingMessage, res: ServerResponse, { type, body, packed, hashed }: File): void {
  setSecurityHeaders(res)
  const gzipped = packed && /\bgzip\b/.test(req.headers['accept-encoding'] ?? '')
  const sent = gzipped ? packed : body
  res.setHeader('Content-Type', type)
  res.setHeader('Cache-Control', hashed ? 'public, max-age=31536000, immutable' : 'no-cache')
  res.setHeader('Vary', 'Accept-Encoding')
  if (gzipped) res.setHeader('Content-Encoding', 'gzip')
  res.setHeader('Content-Length', sent.length)
  res.end(sent)
}

function plain(res: ServerResponse, status: number, sentence: string): void {
  setSecurityHeaders(res)
  send(res, { status, type: 'text/plain; charset=utf-8', body: `${sentence}\n` })
}

async function readAll(folder: string): Promise<Files> {
  const index = await readFile(join(folder, 'index.html'), 'utf8')
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const read = await Promise.all(
    entries
      .filter((entry) => entry.isFile() && entry.name !== 'index.html' && !entry.name.endsWith('.map'))
      .map(async (entry) => {
        const file = join(entry.parentPath, entry.name)
        const path = file.slice(folder.length).split(sep).filter(Boolean).join('/')
        return [path, await asFile(path, await readFile(file))] as const
      }),
  )
  return { index, byPath: new Map(read) }
}

async function asFile(path: string, body: Buffer): Promise<File> {
  const type = TYPES[path.split('.').at(-1) ?? ''] ?? 'application/octet-stream'
  const packed = PACKED.test(type) ? await promisify(gzip)(body) : undefined
  return { type, body, packed, hashed: path.startsWith('assets/') }
}
