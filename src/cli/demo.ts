import type { JSONWebKeySet } from 'jose'
import pg from 'pg'
import { messageOf } from '../lib/errors.ts'
import { type Answer, type Api, ApiError, get } from './api.ts'
import { type DemoAsk, type DemoBroker, findBroker, type Undo } from './demo-broker.ts'
import { checkReceipt, type Receipt, ReceiptRefused } from './receipt.ts'
import { openStage, type Stage } from './stage.ts'

/**
 * The life of two leases, played against a real broker and a real database: one that expires under an open session,
 * one that is revoked. Answers the exit code: 0, or 1 with the step that failed above it.
 */
export async function demo(ask: DemoAsk & { out: NodeJS.WriteStream }): Promise<number> {
  const stage = openStage(ask.out, ask.env, interrupted())
  const undo: Undo = []
  let code = 0
  try {
    await play(stage, ask, undo)
    stage.say('\nAll of it happened. The same, by hand: README.md.')
  } catch (error) {
    stage.say(`\nThe demo failed: ${messageOf(error)}`)
    code = 1
  }
  for (const step of undo.reverse()) await step().catch(() => {}) // nothing is left to tell
  return code
}

/** Rejects at the first Ctrl-C; more of them change nothing, since clearing up is under way. */
function interrupted(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => reject(new Error(`stopped by ${signal}`)))
    }
  })
}

const ROLE_PATH = 'database/creds/demo-readonly'
const SHORT_TTL_SECONDS = 4
/** Until a session is cut or a receipt is there; far more than it takes. */
const PATIENCE_MS = 30_000
const POLL_MS = 50
/** Login disabled, and a moment later no such account. */
const LOGIN_REFUSED = ['28000', '28P01']

type Leased = { leaseId: string; username: string; password: string; seconds: number }

/** What the scenes share. */
type Scene = {
  stage: Stage
  api: Api
  undo: Undo
  logIn: (leased: Leased) => Promise<pg.Client>
}

async function play(stage: Stage, ask: DemoAsk, undo: Undo): Promise<void> {
  const broker = await stage.step('Find a broker, or start one', async (say): Promise<DemoBroker> => {
    const found = await findBroker(ask, undo)
    say(`a broker ${found.origin}`)
    return found
  })
  const place = await stage.step('Ask it where the demo database is', async (say) => {
    const config = await need(broker.api.ask('GET', 'database/config/demo'))
    const details = config.data?.connection_details as { connection_url?: string } | undefined
    say(String(details?.connection_url))
    return String(details?.connection_url)
  })
  const logIn = async ({ username, password }: Leased): Promise<pg.Client> => {
    const url = place.replace('{{username}}', encodeURIComponent(username)).replace('{{password}}', password)
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
    // A session that is cut says so twice: to the query in hand, and here.
    client.on('error', () => {})
    undo.push(() => client.end())
    await client.connect()
    return client
  }
  const scene = { stage, api: broker.api, undo, logIn }
  stage.say('\nA lease that expires')
  const expired = await expire(scene)
  stage.say('\nIts proof')
  await prove(scene, expired)
  stage.say('\nA lease that is revoked')
  await revoke(scene)
}

async function issue({ stage, api, undo }: Scene): Promise<Leased> {
  return stage.step('Ask for a database user', async (say) => {
    const answer = await need(api.ask('GET', ROLE_PATH))
    const { username, password } = answer.data as { username: string; password: string }
    undo.push(() => api.ask('PUT', 'sys/leases/revoke', { lease_id: answer.lease_id, sync: false }))
    say(`user   ${username}`)
    say(`lease  ${answer.lease_id}, ${answer.lease_duration} s`)
    return { leaseId: answer.lease_id, username, password, seconds: answer.lease_duration }
  })
}

type Expired = { leased: Leased; expiresAt: Date }

async function expire(scene: Scene): Promise<Expired> {
  const { stage, api, logIn } = scene
  const leased = await issue(scene)
  const session = await stage.step('Log in to PostgreSQL as that user', async (say) => {
    const client = await logIn(leased)
    const { rows } = await client.query('select current_user, current_database() as database')
    say(`${rows[0].current_user} in database ${rows[0].database}`)
    return client
  })
  await stage.step('Query a table', async (say) => {
    const { rows } = await session.query('select id, name from customer order by id')
    say(`customer: ${rows.map(({ id, name }) => `${id} ${name}`).join(', ')}`)
  })
  await stage.step('Try to change it, which its group may not', async (say) => {
    say(await refusal(session.query('delete from customer'), '42501'))
  })
  await stage.step('Renew for five minutes', async (say) => {
    say(renewed(await renew(api, leased, 300)))
  })
  const expiresAt = await stage.step(
    `Renew again, for only ${SHORT_TTL_SECONDS} s, and then no more`,
    async (say) => {
      const answer = await renew(api, leased, SHORT_TTL_SECONDS)
      say(renewed(answer))
      return new Date(answer.leasehold?.expires_at ?? NaN)
    },
  )
  const query = await stage.step('Open a long session: select pg_sleep(600)', () => longQuery(session))
  await stage.step('Wait until the session is cut', async (say) => {
    say(await within(query, 'the session was not cut'))
    say(`${Date.now() - expiresAt.getTime()} ms after the lease expired, by the clock of this machine`)
  })
  await logInRefused(scene, leased)
  return { leased, expiresAt }
}

async function prove({ stage, api }: Scene, { leased, expiresAt }: Expired): Promise<void> {
  const { jws, keys } = await stage.step('Fetch the receipt, and the keys it is signed with', async (say) => {
    const jws = await receiptOf(api, leased.leaseId)
    say(`${jws.slice(0, 60)}… (${jws.length} characters)`)
    return { jws, keys: JSON.parse(await get(`${api.url}/v1/sys/leasehold/jwks`)) as JSONWebKeySet }
  })
  await stage.step('Verify it offline', async (say) => {
    const { receipt, key } = await checkReceipt(jws, keys)
    if (receipt.account !== leased.username) throw new Error(`it is about ${receipt.account}`)
    say(`signed by ${receipt.iss}, key ${key}`)
    for (const line of lifeOf(receipt, expiresAt)) say(line)
  })
  await stage.step('Change one word in it, and verify that', async (say) => {
    const [head, payload, signature] = jws.split('.') as [string, string, string]
    const forged = Buffer.from(payload, 'base64url').toString().replace('"expired"', '"revoked"')
    const attempt = checkReceipt(`${head}.${Buffer.from(forged).toString('base64url')}.${signature}`, keys)
    const error = await failureOf(attempt, 'the changed receipt was taken for genuine')
    if (!(error instanceof ReceiptRefused)) throw error
    say(`refused: ${error.message}`)
  })
}

async function revoke(scene: Scene): Promise<void> {
  const { stage, api, logIn } = scene
  const leased = await issue(scene)
  const query = await stage.step('Log in and open a long session', async () => longQuery(await logIn(leased)))
  await stage.step('Revoke the lease; the answer comes when it has ended', async () => {
    await api.ask('PUT', 'sys/leases/revoke', { lease_id: leased.leaseId })
  })
  await stage.step('See the session cut', async (say) => say(await within(query, 'the session was not cut')))
  await logInRefused(scene, leased)
  await stage.step('Find the lease gone', async (say) => {
    const lookup = api.ask('PUT', 'sys/leases/lookup', { lease_id: leased.leaseId })
    const error = await failureOf(lookup, 'the lease is still there')
    if (!(error instanceof ApiError && error.status === 400)) throw error
    say(error.message)
  })
}

const logInRefused = ({ stage, logIn }: Scene, leased: Leased): Promise<void> =>
  stage.step('Try to log in again', async (say) => say(await refusal(logIn(leased), ...LOGIN_REFUSED)))

const renew = (api: Api, { leaseId }: Leased, increment: number): Promise<Answer> =>
  need(api.ask('PUT', 'sys/leases/renew', { lease_id: leaseId, increment }))

const renewed = ({ lease_duration, leasehold }: Answer): string =>
  `${lease_duration} s, until ${leasehold?.expires_at}`

/** Starts the query and waits until it runs; the promise in the answer resolves with the error that ends it. */
async function longQuery(session: pg.Client): Promise<{ cut: Promise<string> }> {
  const cut = refusal(session.query('select pg_sleep(600)'), '57P01')
  cut.catch(() => {}) // whoever waits for it sees it
  return { cut }
}

async function within({ cut }: { cut: Promise<string> }, otherwise: string): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${otherwise} within ${PATIENCE_MS / 1_000} s`)), PATIENCE_MS)
  })
  return Promise.race([cut, late]).finally(() => clearTimeout(timer))
}

async function receiptOf(api: Api, leaseId: string): Promise<string> {
  for (const end = Date.now() + PATIENCE_MS; ; ) {
    const answer = await api.ask('GET', `sys/leasehold/receipts/${leaseId}`).catch((error) => {
      // Access has ended; the account is still being removed and proved gone.
      if (error instanceof ApiError && error.status === 404 && Date.now() < end) return undefined
      throw error
    })
    if (answer) return String(answer.data?.receipt)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

function lifeOf(receipt: Receipt, expiresAt: Date): string[] {
  const lateMs = new Date(receipt.ended_at).getTime() - expiresAt.getTime()
  return [
    ...receipt.steps.map(({ step, at, evidence }) => `${step.padEnd(10)} ${at}  ${JSON.stringify(evidence)}`),
    `access ended ${lateMs} ms after the expiry, by the ledger's clock`,
  ]
}

/** What PostgreSQL said when it refused; any other outcome is an error. */
async function refusal(attempt: Promise<unknown>, ...codes: string[]): Promise<string> {
  const error = await failureOf(attempt, 'PostgreSQL allowed it')
  const { code = '' } = error as { code?: string }
  if (!codes.includes(code)) throw error
  return `${(error as pg.DatabaseError).severity}: ${messageOf(error)} (${code})`
}

async function failureOf(attempt: Promise<unknown>, otherwise: string): Promise<unknown> {
  const failed = await attempt.then(
    () => undefined,
    (error: unknown) => ({ error }),
  )
  if (!failed) throw new Error(otherwise)
  return failed.error
}

async function need(asked: Promise<Answer | undefined>): Promise<Answer> {
  const answer = await asked
  if (!answer) throw new Error('the broker answered without a body')
  return answer
}
