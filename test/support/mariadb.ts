import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { cp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createConnection } from 'mysql2/promise'
import { cacheFolder, freshFolder, type Program, provision } from './provision.ts'
import { freePort } from './redis.ts'
import { noteServer, testFolder } from './test-root.ts'

const run = promisify(execFile)

export type TestMariadb = {
  /** `mysql://root:…@127.0.0.1:port`: the superuser's, from any address. */
  url: string
  port: number
  socketPath: string
  /** As a crash. */
  kill(): Promise<void>
  /** Start it again on the same port and data. */
  start(): Promise<void>
  /** Stop and continue the process: connections stay open and nothing answers. */
  pause(): void
  resume(): void
  /** What the server wrote to its general log, when started with `log`. */
  queries(): string
  /** The end: process and files gone. */
  remove(): Promise<void>
}

/** A MariaDB of a test's own, without a care for the machine's crash. */
export async function startTestMariadb(
  options: { settings?: readonly string[]; log?: boolean } = {},
): Promise<TestMariadb> {
  const program = await provision('mariadb')
  const folder = testFolder('mariadb')
  const data = join(folder, 'data')
  await cp(await emptyData(program), data, { recursive: true })
  const port = await freePort()
  const password = randomBytes(12).toString('hex')
  const firstWords = join(folder, 'first.sql')
  await writeFile(
    firstWords,
    // The server takes one statement a line.
    [
      `CREATE OR REPLACE USER root@'%' IDENTIFIED BY '${password}';`,
      `GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;`,
      `DROP USER IF EXISTS root@localhost, root@'127.0.0.1', root@'::1';\n`,
    ].join('\n'),
    { mode: 0o600 },
  )
  const queryLog = join(folder, 'queries.log')
  const settings = [
    ...(options.log ? ['--general-log=1', `--general-log-file=${queryLog}`] : []),
    ...(options.settings ?? []),
  ]
  const url = `mysql://root:${password}@127.0.0.1:${port}`
  let server: ChildProcess
  const start = async () => {
    server = spawnMariadb(program, { folder, data, port, firstWords, settings })
    await ready(server, url, join(folder, 'mariadb.log'))
  }
  const end = () => {
    if (server.exitCode !== null || server.signalCode !== null) return Promise.resolve()
    const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()))
    server.kill('SIGKILL')
    return ended
  }
  await start()
  return {
    url,
    port,
    socketPath: join(folder, 's'),
    start,
    kill: end,
    pause: () => void server.kill('SIGSTOP'),
    resume: () => void server.kill('SIGCONT'),
    queries: () => readFileSync(queryLog, 'utf8'),
    remove: async () => {
      await end()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

type Start = {
  folder: string
  data: string
  port: number
  firstWords: string
  settings: readonly string[]
}

function spawnMariadb(program: Program, { folder, data, port, firstWords, settings }: Start): ChildProcess {
  const child = spawn(
    program.command,
    [
      ...placeOf(program),
      `--datadir=${data}`,
      `--socket=${join(folder, 's')}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--log-error=${join(folder, 'mariadb.log')}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      `--init-file=${firstWords}`,
      // Whatever names this machine has, all accounts are known by address.
      '--skip-name-resolve',
      '--event-scheduler=ON',
      '--max-connections=200',
      ...SPEED,
      ...settings,
    ],
    // Ctrl-C is for vitest, which ends its servers itself.
    { env: { ...process.env, ...program.env }, detached: true, stdio: 'ignore' },
  )
  if (child.pid !== undefined) noteServer(folder, child.pid)
  return child
}

const SPEED = [
  '--innodb-flush-log-at-trx-commit=0',
  '--innodb-doublewrite=0',
  '--innodb-log-file-size=4M',
  '--innodb-buffer-pool-size=16M',
  '--skip-log-bin',
]

/** Where the program's own files are, wherever it was unpacked; and as root it runs only when told so. */
const placeOf = ({ command }: Program): string[] => [
  '--no-defaults',
  `--basedir=${dirname(dirname(command))}`,
  ...(process.getuid?.() === 0 ? ['--user=root'] : []),
]

/** The data of a server with nothing in it; made once for each release, since that takes longer than all the rest. */
async function emptyData(program: Program): Promise<string> {
  const env = { ...process.env, ...program.env }
  const { stdout } = await run(program.command, ['--no-defaults', '--version'], { env })
  const version = /Ver ([\w.+-]+)/.exec(stdout)?.[1] ?? 'unknown'
  const kept = join(cacheFolder(), `mariadb-data-${version}`)
  if (await isThere(kept)) return kept
  const draft = await freshFolder(`${kept}-`)
  try {
    const base = dirname(dirname(program.command))
    await run(
      join(base, 'bin', 'mariadb-install-db'),
      [
        ...placeOf(program),
        `--datadir=${draft}`,
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
        '--skip-name-resolve',
        '--innodb-log-file-size=4M',
      ],
      { env, maxBuffer: 1 << 24 },
    )
    await rename(draft, kept)
  } catch (error) {
    // Another copy of us may have been faster.
    if (!(await isThere(kept))) throw error
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return kept
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

async function ready(server: ChildProcess, url: string, log: string): Promise<void> {
  let failure: string | undefined
  server.once('error', (error) => {
    failure = error.message
  })
  server.once('exit', () => {
    failure ??= readFileSync(log, 'utf8')
  })
  for (;;) {
    if (failure !== undefined) throw new Error(`MariaDB did not start: ${failure}`)
    try {
      const connection = await createConnection(url)
      await connection.end()
      return
    } catch (error) {
      // It answers only when it has read its first words: then a refusal stays one.
      if (typeof (error as { sqlState?: string }).sqlState === 'string') throw error
      await sleep(20)
    }
  }
}
