import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { checkMasterKeys, type MasterKeys, masterKeyForm, readMasterKeys } from './config/master-key.ts'
import { type Report, warnIfExposed } from './config/report.ts'
import {
  checkSecretStores,
  readSecretStores,
  type SecretStoreSettings,
  secretStoreForm,
} from './config/secret-stores.ts'
import { parseEnvFile } from './lib/env-file.ts'
import { messageOf } from './lib/errors.ts'
import { isLoopback, type Listen, listen, loopback, oneOf, readableFile, seconds, url } from './lib/forms.ts'
import type { LogFormat } from './lib/log.ts'
import { nearest } from './lib/nearest.ts'
import { type Sensitive, sensitive } from './lib/sensitive.ts'
import { readTracing, type TracingSettings } from './lib/tracing-settings.ts'

/**
 * Every setting, read once at start, checked, frozen. From the environment, and under the same names from the
 * file that LEASEHOLD_CONFIG names: `NAME=value` lines as Docker and systemd read them. The environment wins.
 * An empty value counts as not set, which is what Compose passes for a variable nobody set.
 */

export type Mode = 'dev' | 'server' | 'worker' | 'init' | 'audit'
/** Paths of PEM files. */
export type TlsFiles = { cert: string; key: string; clientCa: string | undefined }

type Common = MasterKeys & {
  secretStores: SecretStoreSettings
  log: { level: string; format: LogFormat }
  /** How often each worker looks for due rows without being woken. */
  sweepIntervalMs: number
  /** How often each target is held against the ledger, and tried with a throwaway lease; 0: on demand only. */
  reconcileIntervalMs: number
  /** Undefined: no traces. From OpenTelemetry's own variables, in the environment only. */
  tracing: TracingSettings | undefined
  /** What the operator should know but need not fix; for the log, which does not exist yet. */
  warnings: readonly string[]
}

/** `leasehold dev`: everything in one process, the ledger brought along. Without a master key one is made and kept in `dataDir`. */
export type DevConfig = Common & {
  listen: Listen
  tls: TlsFiles | undefined
  dataDir: string
  rootToken: Sensitive
  /** Undefined: on the embedded server. */
  queueUrl: Sensitive | undefined
  /** A cluster to mount: the path is `KUBECONFIG`, where every tool for Kubernetes looks. */
  kubeconfig: string | undefined
}

/** `leasehold worker` and `leasehold init`. The URLs carry passwords. */
export type WorkerConfig = Common & { ledgerUrl: Sensitive; queueUrl: Sensitive; masterKey: Sensitive }

/** `leasehold server`. */
export type ServerConfig = WorkerConfig & { listen: Listen; tls: TlsFiles | undefined }

/** `leasehold audit`, which an auditor may run who has no master key. */
export type AuditConfig = Common & { ledgerUrl: Sensitive }

type ConfigOf = {
  dev: DevConfig
  server: ServerConfig
  worker: WorkerConfig
  init: WorkerConfig
  audit: AuditConfig
}

/** Names every bad setting, and prints no value: a value may be a password in the wrong place. */
export class ConfigError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`The settings are not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.name = 'ConfigError'
    this.problems = problems
  }
}

const rootToken = z
  .string()
  .regex(/^[\x21-\x7e]{1,256}$/, { error: 'must be 1 to 256 printable characters without spaces' })
  .transform(sensitive)

const dataDir = z.string().transform((text) => resolve(text))

const everywhere = {
  LEASEHOLD_LOG_LEVEL: oneOf('trace', 'debug', 'info', 'warn', 'error', 'silent').default('info'),
  LEASEHOLD_LOG_FORMAT: oneOf('json', 'pretty').optional(),
  LEASEHOLD_SWEEP_INTERVAL: seconds(1, 300).prefault('5s'),
  LEASEHOLD_RECONCILE_INTERVAL: seconds(0, 86_400).prefault('1h'),
  LEASEHOLD_QUEUE_URL: url('redis', 'rediss', 'postgres', 'postgresql').optional(),
  ...masterKeyForm,
  ...secretStoreForm,
}
const tlsFiles = {
  LEASEHOLD_TLS_CERT: readableFile.optional(),
  LEASEHOLD_TLS_KEY: readableFile.optional(),
  LEASEHOLD_TLS_CLIENT_CA: readableFile.optional(),
}
const devOnly = {
  LEASEHOLD_DATA_DIR: dataDir.prefault('.leasehold'),
  LEASEHOLD_DEV_ROOT_TOKEN_ID: rootToken.prefault('root'),
}
const productionOnly = { LEASEHOLD_LEDGER_URL: url('postgres', 'postgresql') }

const devForm = z.object({
  ...everywhere,
  ...tlsFiles,
  ...devOnly,
  LEASEHOLD_LISTEN: loopback.prefault('127.0.0.1:8200'),
})
const workerForm = z.object({ ...everywhere, ...productionOnly })
const serverForm = workerForm.extend({ ...tlsFiles, LEASEHOLD_LISTEN: listen })

const NAMES = [...Object.keys(serverForm.shape), ...Object.keys(devOnly), 'LEASEHOLD_CONFIG']

type Settings = Record<string, string>

/** Throws one `ConfigError` for everything that is wrong. */
export function loadConfig<M extends Mode>(
  mode: M,
  env: Record<string, string | undefined>,
  terminal: boolean = process.stderr.isTTY === true,
): ConfigOf[M] {
  const problems: string[] = []
  const warnings: string[] = []
  const report: Report = {
    problem: (text) => void problems.push(text),
    warn: (text) => void warnings.push(text),
  }
  const settings = gather(env, report)
  checkTogether(mode, settings, report)
  const build = {
    dev: (...given: Parameters<typeof workerConfig>) => devConfig(...given, env.KUBECONFIG),
    server: serverConfig,
    worker: workerConfig,
    init: workerConfig,
    audit: workerConfig,
  }[mode]
  const config = build(settings, terminal, report)
  const tracing = mode === 'init' ? undefined : readTracing(env, report)
  if (config === undefined || problems.length > 0) throw new ConfigError(problems)
  return Object.freeze({ ...config, tracing, warnings: Object.freeze(warnings) }) as ConfigOf[M]
}

/** The settings of both sources, empty ones left out, with a word about every name that is not ours. */
function gather(env: Record<string, string | undefined>, report: Report): Settings {
  const settings: Settings = {}
  for (const [name, value] of Object.entries({ ...configFile(env.LEASEHOLD_CONFIG, report), ...env })) {
    if (!name.startsWith('LEASEHOLD_') || value === undefined || value === '') continue
    if (NAMES.includes(name)) settings[name] = value
    else if (!isServiceLink(name)) reportUnknown(name, report)
  }
  return settings
}

/** A typo must not pass for a setting; a name that resembles none of ours may belong to something else. */
function reportUnknown(name: string, report: Report): void {
  const meant = nearest(name, NAMES)
  if (meant === undefined) report.warn(`${name} is not a setting of Leasehold and does nothing`)
  else report.problem(`${name} is not a setting; did you mean ${meant}?`)
}

/** Kubernetes puts these into every pod beside a service called "leasehold". */
const isServiceLink = (name: string): boolean =>
  /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/.test(name)

function configFile(path: string | undefined, report: Report): Settings {
  if (path === undefined || path === '') return {}
  const file = readableFile.safeParse(path)
  if (!file.success) {
    for (const issue of file.error.issues) report.problem(`LEASEHOLD_CONFIG ${issue.message}`)
    return {}
  }
  try {
    const values = parseEnvFile(readFileSync(file.data, 'utf8'))
    for (const name of Object.keys(values)) {
      if (!name.startsWith('LEASEHOLD_')) report.warn(`${name} in the file of LEASEHOLD_CONFIG does nothing`)
    }
    warnIfExposed('LEASEHOLD_CONFIG', file.data, report)
    return values
  } catch (error) {
    report.problem(`LEASEHOLD_CONFIG names a file that is not NAME=value lines: ${messageOf(error)}`)
    return {}
  }
}

/** What no single setting shows. On the raw names, so that one start reports these beside malformed values. */
function checkTogether(mode: Mode, settings: Settings, report: Report): void {
  // Refused rather than ignored: who sets one of these expects something that will not happen.
  if (mode === 'dev' && 'LEASEHOLD_LEDGER_URL' in settings) {
    report.problem('LEASEHOLD_LEDGER_URL is not for `leasehold dev`, which brings its own PostgreSQL')
  }
  for (const name of mode === 'dev' ? [] : Object.keys(devOnly)) {
    if (name in settings) report.problem(`${name} is for \`leasehold dev\` only`)
  }
  checkMasterKeys(settings, { required: mode !== 'dev' && mode !== 'audit' }, report)
  checkSecretStores(settings, report)
  if (mode === 'dev' || mode === 'server') checkTls(settings, report)
}

function checkTls(settings: Settings, report: Report): void {
  if ('LEASEHOLD_TLS_CERT' in settings !== 'LEASEHOLD_TLS_KEY' in settings) {
    report.problem('LEASEHOLD_TLS_CERT and LEASEHOLD_TLS_KEY go together; only one is set')
  } else if ('LEASEHOLD_TLS_CLIENT_CA' in settings && !('LEASEHOLD_TLS_CERT' in settings)) {
    report.problem('LEASEHOLD_TLS_CLIENT_CA needs LEASEHOLD_TLS_CERT and LEASEHOLD_TLS_KEY')
  }
}

function check<Form extends z.ZodType>(
  form: Form,
  settings: Settings,
  report: Report,
): z.output<Form> | undefined {
  const checked = form.safeParse(settings)
  if (checked.success) return checked.data
  for (const issue of checked.error.issues) report.problem(`${issue.path.join('.')} ${issue.message}`)
  return undefined
}

function devConfig(settings: Settings, terminal: boolean, report: Report, kubeconfig?: string) {
  const values = check(devForm, settings, report)
  return (
    values && {
      ...commonConfig(values, terminal, report),
      listen: values.LEASEHOLD_LISTEN,
      tls: tlsConfig(values),
      dataDir: values.LEASEHOLD_DATA_DIR,
      rootToken: values.LEASEHOLD_DEV_ROOT_TOKEN_ID,
      queueUrl: values.LEASEHOLD_QUEUE_URL,
      kubeconfig: kubeconfig || undefined,
    }
  )
}

function workerConfig(settings: Settings, terminal: boolean, report: Report) {
  const values = check(workerForm, settings, report)
  return (
    values && {
      ...commonConfig(values, terminal, report),
      ledgerUrl: values.LEASEHOLD_LEDGER_URL,
      queueUrl: values.LEASEHOLD_QUEUE_URL ?? values.LEASEHOLD_LEDGER_URL,
    }
  )
}

function serverConfig(settings: Settings, terminal: boolean, report: Report) {
  const values = check(serverForm, settings, report)
  if (values === undefined) return undefined
  const tls = tlsConfig(values)
  if (tls === undefined && !isLoopback(values.LEASEHOLD_LISTEN)) {
    report.warn(
      'LEASEHOLD_LISTEN is open to other machines without TLS; set LEASEHOLD_TLS_CERT and LEASEHOLD_TLS_KEY',
    )
  }
  return { ...workerConfig(settings, terminal, report), listen: values.LEASEHOLD_LISTEN, tls }
}

function commonConfig(
  values: z.output<typeof workerForm> | z.output<typeof devForm>,
  terminal: boolean,
  report: Report,
) {
  return {
    ...readMasterKeys(values, report),
    secretStores: readSecretStores(values, report),
    log: {
      level: values.LEASEHOLD_LOG_LEVEL,
      format: values.LEASEHOLD_LOG_FORMAT ?? (terminal ? 'pretty' : 'json'),
    },
    sweepIntervalMs: values.LEASEHOLD_SWEEP_INTERVAL * 1_000,
    reconcileIntervalMs: values.LEASEHOLD_RECONCILE_INTERVAL * 1_000,
  }
}

function tlsConfig(values: z.output<typeof serverForm> | z.output<typeof devForm>): TlsFiles | undefined {
  const { LEASEHOLD_TLS_CERT: cert, LEASEHOLD_TLS_KEY: key, LEASEHOLD_TLS_CLIENT_CA: clientCa } = values
  return cert === undefined || key === undefined ? undefined : { cert, key, clientCa }
}
