#!/usr/bin/env node
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import type { VerifyChoices } from './cli/audit.ts'
import type { TargetSqlChoices } from './cli/target-sql.ts'
import { messageOf } from './lib/errors.ts'
import { VERSION } from './lib/version.ts'

// Each command brings its own parts: `--version` and `receipt verify` need not load a broker.
const starting = async () => ({ ...(await import('./main.ts')), ...(await import('./config.ts')) })

const STREAMS = { out: process.stdout, err: process.stderr }

const program = new Command('leasehold')
  .description('An ephemeral credential broker: database users under a lease, ended and proved gone.')
  .version(VERSION)

program
  .command('dev')
  .description('run everything in one process with an embedded PostgreSQL, for trying it out')
  .action(async () => {
    const { loadConfig, loggerFor, runUntilSignalled } = await starting()
    const { banner, startDev } = await import('./dev/dev.ts')
    const config = loadConfig('dev', process.env)
    const running = await startDev(config, loggerFor(config))
    process.stdout.write(banner(running, config.rootToken.reveal()))
    await runUntilSignalled(running)
  })

program
  .command('server')
  .description('run the API; any number of servers share a ledger')
  .action(async () => {
    const { loadConfig, runUntilSignalled, startServer } = await starting()
    await runUntilSignalled(await startServer(loadConfig('server', process.env)))
  })

program
  .command('worker')
  .description('run one of the fleet that ends leases; any number of workers share a ledger')
  .action(async () => {
    await import('../workers/leases.ts')
  })

program
  .command('init')
  .description('set up or upgrade the ledger, and print the first root token, once')
  .option('--new-root', 'print a new root token; proven by access to the ledger and the master key', false)
  .action(async (options: { newRoot: boolean }) => {
    const { initialize, loadConfig } = await starting()
    const token = await initialize(loadConfig('init', process.env), options)
    process.stdout.write(
      token === undefined
        ? 'The ledger is set up. It has tokens already; `leasehold init --new-root` makes a new root token.\n'
        : `The ledger is set up. Root token, shown this once:\n\n  ${token}\n`,
    )
  })

program
  .command('demo')
  .description('play the life of a lease, step by step, against a running `leasehold dev` or one of its own')
  .option('--own', 'start a broker for it even when one is running', false)
  .action(async (options: { own: boolean }) => {
    const { demo } = await import('./cli/demo.ts')
    // Not by the exit code alone: what an interrupted step still waits for would hold the process.
    const cliFile = fileURLToPath(import.meta.url)
    process.exit(await demo({ env: process.env, out: process.stdout, cliFile, ...options }))
  })

program
  .command('receipt')
  .description('proofs of ended leases')
  .command('verify')
  .description(
    'check a receipt offline: exit code 0 for a genuine one, 1 for any other, 2 when it cannot be checked',
  )
  .argument('<file>', "the receipt, or the API's answer with it; `-` for standard input")
  .requiredOption('--jwks <file|url>', 'the public keys, as sys/leasehold/jwks answers them')
  .option('--json', 'print what the receipt says as JSON', false)
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .action(async (file: string, options: { jwks: string; json: boolean }) => {
    const { verifyReceipt } = await import('./cli/receipt.ts')
    process.exitCode = await verifyReceipt(file, options, process.stdout, process.stderr)
  })

const several = (text: string, known: string[]) => [...known, text]

program
  .command('target')
  .description('servers that leases are made on')
  .command('sql')
  .description(
    'print what a superuser installs on a PostgreSQL server so that its admin account needs no rights there; it asks the broker at VAULT_ADDR with VAULT_TOKEN',
  )
  .argument('<name>', 'the connection, as in <mount>/config/<name>')
  .option('--mount <path>', 'the mount it belongs to', 'database')
  .option(
    '--group <name>',
    'a group to allow, in place of those the roles name; may be repeated',
    several,
    [],
  )
  .option(
    '--database <name>',
    'another database that leased users may leave something in; repeatable',
    several,
    [],
  )
  .option('--login <name>', 'another admin account, for rotation by turns; may be repeated', several, [])
  .option('--only <database>', 'print the part for this database alone')
  .action(async (name: string, options: TargetSqlChoices) => {
    const { printTargetSql } = await import('./cli/target-sql.ts')
    process.exitCode = await printTargetSql(name, options, { env: process.env, ...STREAMS })
  })

const audit = program.command('audit').description('the record of who did what')

/** The ledger of the settings, for commands that only read its audit log. */
const auditLogOpener = async () => {
  const { loadConfig } = await import('./config.ts')
  const { openStoredLog } = await import('./compose/audit-log.ts')
  return () => openStoredLog(loadConfig('audit', process.env))
}

const knownCheckpoint = (text: string, known: { number: number; hash: string }[]) => {
  const [, number, hash = ''] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? []
  if (number === undefined) throw new InvalidArgumentError('It is number:hash, as verify prints it.')
  return [...known, { number: Number(number), hash }]
}

audit
  .command('verify')
  .description(
    "check the ledger's log, or an exported one: exit code 0 when it is sound, 1 when not, 2 when it cannot be checked",
  )
  .option('--file <file>', 'a file that `audit export` wrote; `-` for standard input')
  .option('--jwks <file|url>', 'the public keys, as sys/leasehold/jwks answers them; else from the ledger')
  .option(
    '--checkpoint <number:hash>',
    'a checkpoint noted earlier, which the log must hold',
    knownCheckpoint,
    [],
  )
  .option('--json', 'print the report as JSON', false)
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .action(async (options: VerifyChoices) => {
    const { verifyAudit } = await import('./cli/audit.ts')
    process.exitCode = await verifyAudit(options, await auditLogOpener(), STREAMS)
  })

audit
  .command('export')
  .description('write the whole log as JSON lines, to keep or to check elsewhere')
  .option('--file <file>', 'a new file; else standard output')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .action(async (options: { file?: string }) => {
    const { exportAudit } = await import('./cli/audit.ts')
    process.exitCode = await exportAudit(options, await auditLogOpener(), STREAMS)
  })

program.parseAsync().catch((error) => {
  process.stderr.write(`leasehold: ${messageOf(error)}\n`)
  process.exitCode = 1
})
