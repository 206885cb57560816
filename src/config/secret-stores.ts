import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { oneOf, readableFile } from '../lib/forms.ts'
import { isLoopbackHost } from '../lib/loopback.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { type Report, warnIfExposed } from './report.ts'

/** Which stores there are for admin passwords, and which of them gets what we are given. */
export type SecretStoreSettings = {
  default: 'builtin' | 'vault' | 'aws'
  vault: VaultSettings | undefined
  aws: AwsSettings | undefined
}

type VaultSettings = {
  address: string
  namespace: string | undefined
  ca: string | undefined
  mount: string
  prefix: string
  login:
    | { kind: 'token'; token: Sensitive }
    | { kind: 'token_file'; path: string }
    | {
        kind: 'approle'
        authPath: string
        roleId: string
        secretId: Sensitive | { path: string } | undefined
      }
    | { kind: 'kubernetes'; authPath: string; role: string; tokenPath: string }
}

type AwsSettings = { region: string; endpoint: string | undefined; prefix: string }

const httpUrl = z.string().refine(isHttpUrl, {
  error: 'must be a URL that starts with https:// or http://, without a password in it',
})

function isHttpUrl(text: string): boolean {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) return false
  const { username, password, search, hash } = new URL(text)
  return username === '' && password === '' && search === '' && hash === ''
}

/** `a/b`: with or without a slash at either end. */
const vaultPath = z
  .string()
  .transform((text) => text.replace(/^\/|\/$/g, ''))
  .refine((text) => /^(?!.*(^|\/)\.{1,2}(\/|$))[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/.test(text), {
    error: 'must be a path in Vault, such as secret or team/kv',
  })

const word = z
  .string()
  .regex(/^[\x21-\x7e]{1,512}$/, { error: 'must be printable characters without spaces' })
const secretWord = word.transform(sensitive)
const path = z.string().transform((text) => resolve(text))

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'

export const secretStoreForm = {
  LEASEHOLD_SECRET_STORE: oneOf('builtin', 'vault', 'aws').default('builtin'),
  LEASEHOLD_VAULT_ADDR: httpUrl.optional(),
  LEASEHOLD_VAULT_NAMESPACE: vaultPath.optional(),
  LEASEHOLD_VAULT_CA: readableFile.optional(),
  LEASEHOLD_VAULT_MOUNT: vaultPath.prefault('secret'),
  LEASEHOLD_VAULT_PREFIX: vaultPath.prefault('leasehold'),
  LEASEHOLD_VAULT_AUTH_PATH: vaultPath.optional(),
  LEASEHOLD_VAULT_TOKEN: secretWord.optional(),
  LEASEHOLD_VAULT_TOKEN_FILE: path.optional(),
  LEASEHOLD_VAULT_ROLE_ID: word.optional(),
  LEASEHOLD_VAULT_SECRET_ID: secretWord.optional(),
  LEASEHOLD_VAULT_SECRET_ID_FILE: path.optional(),
  LEASEHOLD_VAULT_KUBERNETES_ROLE: word.optional(),
  LEASEHOLD_VAULT_KUBERNETES_TOKEN_FILE: path.prefault(SERVICE_ACCOUNT_TOKEN),
  LEASEHOLD_AWS_REGION: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, { error: 'must be a region such as eu-central-1' })
    .optional(),
  LEASEHOLD_AWS_ENDPOINT: httpUrl.optional(),
  LEASEHOLD_AWS_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9_+=.@/-]{1,200}$/, { error: 'must be 1 to 200 of A-Z a-z 0-9 / _ + = . @ -' })
    .prefault('leasehold/'),
}

type Settings = Readonly<Record<string, string>>
type Values = z.output<z.ZodObject<typeof secretStoreForm>>

const LOGINS = [
  'LEASEHOLD_VAULT_TOKEN',
  'LEASEHOLD_VAULT_TOKEN_FILE',
  'LEASEHOLD_VAULT_ROLE_ID',
  'LEASEHOLD_VAULT_KUBERNETES_ROLE',
] as const

/** Which setting makes no sense without which. */
const NEEDS: readonly (readonly [RegExp, string])[] = [
  [/^LEASEHOLD_VAULT_(?!ADDR$)/, 'LEASEHOLD_VAULT_ADDR'],
  [/^LEASEHOLD_AWS_(?!REGION$)/, 'LEASEHOLD_AWS_REGION'],
  [/^LEASEHOLD_VAULT_SECRET_ID(_FILE)?$/, 'LEASEHOLD_VAULT_ROLE_ID'],
  [/^LEASEHOLD_VAULT_KUBERNETES_TOKEN_FILE$/, 'LEASEHOLD_VAULT_KUBERNETES_ROLE'],
]

/** On the raw names, so that one start reports these beside malformed values. */
export function checkSecretStores(settings: Settings, report: Report): void {
  for (const [names, needed] of NEEDS) {
    const name = Object.keys(settings).find((each) => names.test(each))
    if (name && !(needed in settings)) report.problem(`${name} needs ${needed}`)
  }
  const { LEASEHOLD_SECRET_STORE: store } = settings
  if (store === 'vault' && !('LEASEHOLD_VAULT_ADDR' in settings)) {
    report.problem('LEASEHOLD_SECRET_STORE=vault needs LEASEHOLD_VAULT_ADDR')
  }
  if (store === 'aws' && !('LEASEHOLD_AWS_REGION' in settings)) {
    report.problem('LEASEHOLD_SECRET_STORE=aws needs LEASEHOLD_AWS_REGION')
  }
  const logins = LOGINS.filter((name) => name in settings)
  if ('LEASEHOLD_VAULT_ADDR' in settings && logins.length !== 1) {
    report.problem(`LEASEHOLD_VAULT_ADDR needs exactly one of ${LOGINS.join(', ')}`)
  }
  if ('LEASEHOLD_VAULT_SECRET_ID' in settings && 'LEASEHOLD_VAULT_SECRET_ID_FILE' in settings) {
    report.problem('LEASEHOLD_VAULT_SECRET_ID and LEASEHOLD_VAULT_SECRET_ID_FILE are both set; keep one')
  }
}

export function readSecretStores(values: Values, report: Report): SecretStoreSettings {
  const {
    LEASEHOLD_VAULT_ADDR: address,
    LEASEHOLD_AWS_REGION: region,
    LEASEHOLD_AWS_ENDPOINT: endpoint,
  } = values
  warnIfClear('LEASEHOLD_VAULT_ADDR', address, report)
  warnIfClear('LEASEHOLD_AWS_ENDPOINT', endpoint, report)
  return {
    default: values.LEASEHOLD_SECRET_STORE,
    vault: address === undefined ? undefined : readVault(address, values, report),
    aws: region === undefined ? undefined : { region, endpoint, prefix: values.LEASEHOLD_AWS_PREFIX },
  }
}

function readVault(address: string, values: Values, report: Report): VaultSettings | undefined {
  const login = readLogin(values, report)
  return (
    login && {
      address: address.replace(/\/$/, ''),
      namespace: values.LEASEHOLD_VAULT_NAMESPACE,
      ca: values.LEASEHOLD_VAULT_CA,
      mount: values.LEASEHOLD_VAULT_MOUNT,
      prefix: values.LEASEHOLD_VAULT_PREFIX,
      login,
    }
  )
}

/** Undefined when there is none, which has been reported. */
function readLogin(values: Values, report: Report): VaultSettings['login'] | undefined {
  const { LEASEHOLD_VAULT_TOKEN: token, LEASEHOLD_VAULT_AUTH_PATH: authPath } = values
  if (token) return { kind: 'token', token }
  const tokenFile = values.LEASEHOLD_VAULT_TOKEN_FILE
  if (tokenFile !== undefined) {
    return { kind: 'token_file', path: later('LEASEHOLD_VAULT_TOKEN_FILE', tokenFile, report) }
  }
  const roleId = values.LEASEHOLD_VAULT_ROLE_ID
  if (roleId !== undefined) {
    const file = values.LEASEHOLD_VAULT_SECRET_ID_FILE
    const secretId =
      file === undefined
        ? values.LEASEHOLD_VAULT_SECRET_ID
        : { path: later('LEASEHOLD_VAULT_SECRET_ID_FILE', file, report) }
    return { kind: 'approle', authPath: authPath ?? 'approle', roleId, secretId }
  }
  const role = values.LEASEHOLD_VAULT_KUBERNETES_ROLE
  if (role === undefined) return undefined
  const tokenPath = values.LEASEHOLD_VAULT_KUBERNETES_TOKEN_FILE
  return { kind: 'kubernetes', authPath: authPath ?? 'kubernetes', role, tokenPath }
}

/** An agent may write it after we have started: leases end without it. */
function later(name: string, path: string, report: Report): string {
  if (existsSync(path)) warnIfExposed(name, path, report)
  else report.warn(`${name} names a file that is not there yet`)
  return path
}

function warnIfClear(name: string, url: string | undefined, report: Report): void {
  if (url === undefined || !url.startsWith('http:')) return
  const { hostname } = new URL(url)
  const isHere = isLoopbackHost(hostname)
  if (!isHere) report.warn(`${name} begins with http://: secrets cross the network in the clear`)
}
