import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import axe from 'axe-core'
import { type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core'
import { givenPart, provision } from './provision.ts'
import { noteServer, testFolder } from './test-root.ts'

/** A browser window of a person's own: no cookie or storage is shared with another's. */
export type Window = {
  page: Page
  /** What the page's scripts threw, and what its content policy refused, so far. */
  problems: readonly string[]
  close(): Promise<void>
}

export type TestBrowser = {
  open(options?: BrowserContextOptions): Promise<Window>
  close(): Promise<void>
}

/** A small phone, held upright. */
export const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true } as const
const LAPTOP = { viewport: { width: 1280, height: 800 } } as const

const PATIENCE_MS = 60_000

/** Pages come from this machine alone, and so nothing needs the sandbox, which root cannot have. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  // No request leaves this machine, whatever a page asks for.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
]

/** Debian's Chromium, without a screen. */
export async function openBrowser(): Promise<TestBrowser> {
  const { command, env } = givenProgram() ?? (await provision('chromium'))
  const folder = testFolder('chromium')
  const server = await chromium.launchServer({
    executablePath: command,
    args: FLAGS,
    env: { ...process.env, ...env, HOME: folder },
  })
  const pid = server.process().pid
  if (pid !== undefined) noteServer(folder, pid)
  const browser = await chromium.connect(server.wsEndpoint())
  return {
    async open(options = {}) {
      const context = await browser.newContext({ ...LAPTOP, reducedMotion: 'reduce', ...options })
      context.setDefaultTimeout(PATIENCE_MS)
      const page = await context.newPage()
      const problems: string[] = []
      page.on('pageerror', (error) => problems.push(`${error.name}: ${error.message}`))
      page.on('console', (message) => {
        const text = message.text()
        if (/content security policy/i.test(text)) problems.push(text)
      })
      return {
        page,
        problems,
        async close() {
          // What a test has put between the page and its server may be at work on an answer.
          await page.unrouteAll({ behavior: 'ignoreErrors' })
          await context.close()
        },
      }
    },
    async close() {
      await browser.close()
      await server.close()
    },
  }
}

function givenProgram() {
  const command = givenPart('chromium')
  return command === undefined ? undefined : { command, env: {} }
}

/** Below the clone, left out of git; CI keeps it. */
const ARTEFACTS = fileURLToPath(new URL('../../test-artifacts/screenshots/', import.meta.url))

/** Keeps what the page looks like now as `<name>.png`; the last run's is overwritten. */
export async function screenshot(page: Page, name: string): Promise<void> {
  const path = join(ARTEFACTS, `${name}.png`)
  // What stays at the top of the window would be in the middle of the picture.
  await page.evaluate('window.scrollTo(0, 0)')
  await page.screenshot({ path, fullPage: true })
}

type Finding = {
  id: string
  impact: string | null
  help: string
  nodes: { html: string; failureSummary?: string }[]
}

/** What axe finds serious or critical about the page as it is now, each as one text. */
export async function seriousFindings(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate<{ violations: Finding[] }>(
    `axe.run(document, { resultTypes: ['violations'] })`,
  )
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, help, nodes }) =>
      nodes.map(
        ({ html, failureSummary = '' }) => `${id}: ${help}: ${html.slice(0, 300)} (${failureSummary})`,
      ),
    )
}

const MOST_TABS = 150

/** Presses Tab until the element has the focus, as somebody without a mouse does. Fails when it never gets there. */
export async function tabTo(page: Page, target: Locator): Promise<void> {
  await target.waitFor()
  for (let pressed = 0; pressed < MOST_TABS; pressed += 1) {
    if (await target.evaluate((element) => element === element.ownerDocument.activeElement)) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`Tab never comes to ${target}`)
}

/** As `tabTo`, then Enter. */
export async function pressOn(page: Page, target: Locator): Promise<void> {
  await tabTo(page, target)
  await page.keyboard.press('Enter')
}

/** Whether something is wider than the window, so that one has to scroll sideways to read it. */
export const overflows = (page: Page): Promise<boolean> =>
  page.evaluate<boolean>('document.documentElement.scrollWidth > document.documentElement.clientWidth')

/** In how many places of the page's memory a text is, once all that nothing holds has been let go. */
export async function timesInMemory(page: Page, text: string): Promise<number> {
  const session = await page.context().newCDPSession(page)
  const parts: string[] = []
  session.on('HeapProfiler.addHeapSnapshotChunk', ({ chunk }) => parts.push(chunk))
  await session.send('HeapProfiler.enable')
  await session.send('HeapProfiler.collectGarbage')
  await session.send('HeapProfiler.takeHeapSnapshot', { reportProgress: false })
  await session.detach()
  return parts.join('').split(text).length - 1
}
