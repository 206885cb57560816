import { isatty } from 'node:tty'
import { type Broker, compose, migrateLedger } from './compose.ts'
import type { ServerConfig, WorkerConfig } from './config.ts'
import { createLogger, type Logger } from './lib/log.ts'
import { readTls } from './lib/pem-files.ts'

/** How the processes of an installation start, run and stop. */

const STDIN = 0

/** Something that runs until it is told to stop. */
export type Running = { stop(): Promise<void>; reopenLogs(): void }

export function loggerFor(config: Pick<ServerConfig, 'log' | 'warnings'>): Logger {
  const log = createLogger(config.log.level, config.log.format)
  for (const warning of config.warnings) log.warn(warning)
  return log
}

const composeFor = (config: WorkerConfig, log: Logger): Promise<Broker> =>
  compose({
    ledgerUrl: config.ledgerUrl,
    queueUrl: config.queueUrl,
    masterKey: config.masterKey,
    previousMasterKey: config.previousMasterKey,
    secretStores: config.secretStores,
    sweepIntervalMs: config.sweepIntervalMs,
    reconcileIntervalMs: config.reconcileIntervalMs,
    tracing: config.tracing,
    log,
  })

/** The API alone: `leasehold server`. */
export async function startServer(config: ServerConfig): Promise<Running> {
  const log = loggerFor(config)
  const broker = await composeFor(config, log)
  try {
    const { url } = await broker.listen({ ...config.listen, ...(await readTls(config.tls)) })
    log.info({ url }, 'the API is listening')
  } catch (error) {
    await broker.close()
    throw error
  }
  return { stop: broker.close, reopenLogs: broker.reopenLogs }
}

/** One of the fleet that ends leases: `leasehold worker`. */
export const startWorker = (config: WorkerConfig): Promise<Running> =>
  startFleet(config, 'the worker is running', (broker) => broker.startWorker())

/** One of the fleet that rotates passwords and does nothing else: `workers/rotation.ts`. */
export const startRotation = (config: WorkerConfig): Promise<Running> =>
  startFleet(config, 'the rotation worker is running', (broker) => broker.startRotation())

async function startFleet(
  config: WorkerConfig,
  said: string,
  begin: (broker: Broker) => void,
): Promise<Running> {
  const log = loggerFor(config)
  const broker = await composeFor(config, log)
  begin(broker)
  log.info(said)
  return { stop: broker.close, reopenLogs: broker.reopenLogs }
}

/** One of the fleet that minds the deadlines of break-glass grants and does nothing else: `workers/grants.ts`. */
export async function startGrants(config: WorkerConfig): Promise<Running> {
  const log = loggerFor(config)
  const broker = await composeFor(config, log)
  broker.startGrants()
  log.info('the grants worker is running')
  return { stop: broker.close, reopenLogs: broker.reopenLogs }
}

/**
 * Sets up or upgrades the ledger: `leasehold init`. Answers a root token when the ledger had no token at all, or with
 * `newRoot`; who may do this holds the ledger and the master key, since composing fails without either.
 */
export async function initialize(
  config: WorkerConfig,
  { newRoot }: { newRoot: boolean },
): Promise<string | undefined> {
  const log = loggerFor(config)
  await migrateLedger({ ledgerUrl: config.ledgerUrl, log })
  const broker = await composeFor(config, log)
  try {
    if (!newRoot && (await broker.tokens.listAccessors()).length > 0) return undefined
    return (await broker.tokens.createRootToken()).token.reveal()
  } finally {
    await broker.close()
  }
}

/**
 * Runs until SIGINT or SIGTERM; a second signal does not wait for the work in hand. SIGHUP is for logs that have been
 * moved away, except in a terminal, where it says that the terminal is gone.
 */
export async function runUntilSignalled(running: Running): Promise<void> {
  if (!isatty(STDIN)) process.on('SIGHUP', running.reopenLogs)
  await new Promise<void>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  process.once('SIGINT', () => process.exit(130))
  process.once('SIGTERM', () => process.exit(143))
  await running.stop()
}
