import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { loadConfig } from '../../src/config.ts'
import { startDev } from '../../src/dev/dev.ts'
import { openBrowser, screenshot, type TestBrowser, type Window } from '../support/browser.ts'
import { built } from '../support/built.ts'
import { freePort } from '../support/redis.ts'
import { testFolder } from '../support/test-root.ts'
import { silent } from '../support/wire.ts'

/** What a newcomer has: `leasehold dev`, the console as it is built, and a browser. */
export type ConsoleWorld = {
  /** Of the console, without a slash at its end. */
  ui: string
  browser: TestBrowser
  /** A window of this person's own, signed in through the real provider, on the page they wanted. */
  signIn(name: string, options?: BrowserContextOptions & { path?: string; proof?: string }): Promise<Window>
  /** On the page of the provider, where a window was sent to sign in again. */
  choose(window: Window, name: string, proof: string): Promise<void>
  /** As the root token; the answer's `data`. */
  root<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T>
  /** The server goes away, and comes back on the same address with the same data. */
  stop(): Promise<void>
  start(): Promise<void>
  close(): Promise<void>
}

const ROOT = 'root-of-the-console-test'

export async function openConsoleWorld(): Promise<ConsoleWorld> {
  // The pages are built files, whatever runs the server.
  built('console/index.html')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const settings = {
    LEASEHOLD_LISTEN: `127.0.0.1:${port}`,
    LEASEHOLD_DATA_DIR: join(testFolder('console'), 'data'),
    LEASEHOLD_DEV_ROOT_TOKEN_ID: ROOT,
  }
  const startServer = () => startDev(loadConfig('dev', settings), silent)
  let server: Awaited<ReturnType<typeof startDev>> | undefined
  let browser: TestBrowser
  ;[server, browser] = await Promise.all([startServer(), openBrowser()])
  const stop = async () => {
    await server?.stop()
    server = undefined
  }
  return {
    ui: `${url}/ui`,
    browser,
    async signIn(name, { path = '/', proof = 'With a second factor', ...options } = {}) {
      const window = await browser.open(options)
      await window.page.goto(`${url}/ui${path}`)
      await window.page.getByRole('button', { name: /^Sign in with sample people/ }).click()
      await choose(window, name, proof)
      return window
    },
    choose,
    async root<T>(method: string, path: string, body?: unknown) {
      const answer = await fetch(`${url}/v1/${path}`, {
        method,
        headers: { 'X-Vault-Token': ROOT },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await answer.text()
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
      return (text === '' ? undefined : JSON.parse(text).data) as T
    },
    stop,
    async start() {
      server = await startServer()
    },
    async close() {
      await browser.close()
      await stop()
    },
  }
}

async function choose({ page }: Window, name: string, proof: string): Promise<void> {
  await page.getByRole('button', { name: `${proof} as ${name}`, exact: true }).click()
  await page.getByRole('button', { name: /^Account of / }).waitFor()
}

const IMAGES = fileURLToPath(new URL('../../docs/images/', import.meta.url))

/** Keeps what the window shows now; with LEASEHOLD_DOCS_SCREENSHOTS=1 for the operator's guide too. */
export async function picture(page: Page, name: string): Promise<void> {
  await screenshot(page, name)
  if (process.env.LEASEHOLD_DOCS_SCREENSHOTS !== '1') return
  await page.screenshot({ path: join(IMAGES, `console-${name}.png`), animations: 'disabled' })
}
