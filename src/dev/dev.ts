import { readFile } from 'node:fs/promises'
import { type Broker, compose, migrateLedger } from '../compose.ts'
import type { DevConfig } from '../config.ts'
import type { Logger } from '../lib/log.ts'
import { readTls } from '../lib/pem-files.ts'
import { sensitive } from '../lib/sensitive.ts'
import { CLUSTER_DEMO, mountCluster } from './cluster.ts'
import { openDataDir } from './data-dir.ts'
import { DEMO, seedDemo } from './demo-target.ts'
import { type PostgresServer, startPostgres } from './embedded-postgres.ts'
import { makeLedgerDatabase } from './ledger-database.ts'
import { seatPeople } from './people-access.ts'
import { keysOrigin } from './people-keys.ts'
import { PEOPLE } from './people-known.ts'

export type DevBroker = {
  url: string
  psqlHost: string
  /** The cluster of `KUBECONFIG` is mounted. */
  hasCluster: boolean
  /** The sample people can sign in. */
  hasPeople: boolean
  stop(): Promise<void>
  reopenLogs(): void
}

/**
 * The whole broker in one process on one machine: API, workers, and an embedded PostgreSQL that is ledger, queue and
 * demo target. What came due while it was stopped is ended by the first sweep.
 */
export async function startDev(config: DevConfig, log: Logger): Promise<DevBroker> {
  const dataDir = await openDataDir(config.dataDir)
  const opened: (() => Promise<void> | void)[] = [dataDir.release]
  const stop = async () => {
    for (const close of opened.reverse()) await close()
  }
  try {
    const postgres = await startPostgres({ dataDir: dataDir.postgresDir })
    opened.push(() => postgres.stop())
    const broker = await composeOn(postgres, config, dataDir.masterKeyFile, log)
    opened.push(broker.close)
    await broker.tokens.createRootToken(config.rootToken.reveal())
    await seedDemo(broker, postgres)
    const hasCluster = config.kubeconfig !== undefined && (await mountCluster(broker, config.kubeconfig, log))
    broker.startWorker()
    const { url } = await broker.listen({ ...config.listen, ...(await readTls(config.tls)) })
    const people = await seatPeople(broker, url, log)
    if (people) opened.push(people.stop)
    const has = { hasCluster, hasPeople: people !== undefined }
    return { url, psqlHost: postgres.socketDir, ...has, stop, reopenLogs: broker.reopenLogs }
  } catch (error) {
    await stop()
    throw error
  }
}

async function composeOn(
  postgres: PostgresServer,
  config: DevConfig,
  masterKeyFile: string,
  log: Logger,
): Promise<Broker> {
  const ledgerUrl = sensitive(await makeLedgerDatabase(postgres))
  await migrateLedger({ ledgerUrl, log })
  return compose({
    ledgerUrl,
    queueUrl: config.queueUrl ?? ledgerUrl,
    masterKey: config.masterKey ?? sensitive((await readFile(masterKeyFile, 'utf8')).trim()),
    previousMasterKey: config.previousMasterKey,
    secretStores: config.secretStores,
    sweepIntervalMs: config.sweepIntervalMs,
    reconcileIntervalMs: config.reconcileIntervalMs,
    tracing: config.tracing,
    log,
  })
}

const CLUSTER_HINT = `
Or for a token that may look around in the cluster of your KUBECONFIG (it lives for ten minutes unless renewed):

  vault write -f ${CLUSTER_DEMO.mount}creds/${CLUSTER_DEMO.role}
`

const PEOPLE_HINT = `Sign in there as one of these sample people, each in a private window of its own to play several:

${PEOPLE.map(({ name, work }) => `  ${name.padEnd(13)}${work}`).join('\n')}
`

const keysHint = (url: string): string => `
Security keys (a browser's own will do to try) are enrolled and used at ${keysOrigin(url)}/ui/
`

/** What a newcomer sees first; only the address and the token change. */
export function banner(broker: DevBroker, rootToken: string): string {
  return `
Leasehold is running: one process, one machine, for trying it out.

  Address     ${broker.url}
  Root token  ${rootToken}

Ask for a PostgreSQL user of your own (it lives for a minute unless renewed):

  curl -s -H 'X-Vault-Token: ${rootToken}' ${broker.url}/v1/database/creds/${DEMO.readonlyRole}

Or with the vault command line, and psql:

  export VAULT_ADDR=${broker.url} VAULT_TOKEN=${rootToken}
  vault read database/creds/${DEMO.readonlyRole}
  psql -h ${broker.psqlHost} -d ${DEMO.database} -U <username>
${broker.hasCluster ? CLUSTER_HINT : ''}
See the whole story, step by step:  npm run demo
Stop with Ctrl-C; the data is kept, and leases that come due meanwhile are ended at the next start.

The console: ask for access in an emergency, approve it, see and end what is out.
${broker.hasPeople ? PEOPLE_HINT + keysHint(broker.url) : `Sign in there with a token.\n`}
  ${broker.url}/ui/
`
}
