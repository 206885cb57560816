/** What activation and collection give out, once. It is kept in one dialog's state and nowhere else. */
export type Credential = {
  path: string
  lease_id: string
  lease_duration: number
  renewable: boolean
  data: Record<string, unknown>
  engine?: string
  target?: string
  connect?: Record<string, string | number | null> | null
}

/** A word of a POSIX shell command line, quoted where it has to be. */
const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

const textOf = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : ''

/**
 * The command that uses a credential, ready for a shell: without the secret itself, which would stay in its history.
 * psql and mysql ask for it; kubectl gets it from a variable that is typed in unseen. Undefined for other engines.
 */
export function commandFor({ engine, data, connect }: Credential): string | undefined {
  const place = (name: string, missing: string) => shellWord(textOf(connect?.[name]) || missing)
  const option = (flag: string, name: string) => {
    const value = textOf(connect?.[name])
    return value === '' ? [] : [flag, shellWord(value)]
  }
  const user = shellWord(textOf(data.username))
  if (engine === 'postgres') {
    const database = place('database', 'postgres')
    return [
      'psql',
      '-h',
      place('host', 'HOST'),
      ...option('-p', 'port'),
      '-U',
      user,
      '-d',
      database,
      '-W',
    ].join(' ')
  }
  if (engine === 'mysql') {
    return [
      'mysql',
      '-h',
      place('host', 'HOST'),
      ...option('-P', 'port'),
      '-u',
      user,
      '-p',
      ...option('-D', 'database'),
    ].join(' ')
  }
  if (engine === 'kubernetes') {
    const namespace = textOf(data.service_account_namespace) || textOf(connect?.namespace) || 'default'
    const kubectl = [
      'kubectl',
      ...option('--server', 'server'),
      '--token "$TOKEN"',
      '-n',
      shellWord(namespace),
      'get pods',
    ]
    return `read -rs TOKEN && ${kubectl.join(' ')}`
  }
  return undefined
}

const LABELS: Readonly<Record<string, string>> = {
  username: 'User name',
  password: 'Password',
  service_account_token: 'Token',
  service_account_name: 'Service account',
  service_account_namespace: 'Namespace',
}

const SECRETS = /password|token|private_key|secret/

/** What there is to copy, in order: its name for people, its value, and whether it is shown only when asked. */
export function partsOf({ data, connect }: Credential): { label: string; value: string; secret: boolean }[] {
  const rows = (of: Record<string, unknown>) =>
    Object.entries(of)
      .map(([name, value]) => ({ name, value: textOf(value) }))
      .filter(({ value }) => value !== '')
      .map(({ name, value }) => ({
        label: LABELS[name] ?? `${name.charAt(0).toUpperCase()}${name.slice(1).replaceAll('_', ' ')}`,
        value,
        secret: SECRETS.test(name) && !/_name$|namespace$/.test(name),
      }))
  return [...rows(data), ...rows(connect ?? {})]
}
