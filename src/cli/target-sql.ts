import { type Api, ApiError, openApi } from './api.ts'

/** SQL for one database of a server, as the API answers it. */
type Script = { database: string; sql: string }

export type TargetSqlChoices = {
  mount: string
  group: string[]
  database: string[]
  login: string[]
  only?: string
}

const DEFAULT_ADDRESS = 'http://127.0.0.1:8200'

/**
 * `leasehold target sql`: prints what a superuser installs on a connection's server so that its admin account needs no
 * rights there. Answers the exit code. Scripts for several databases are told apart by psql's `\connect`.
 */
export async function printTargetSql(
  name: string,
  { mount, group, database, login, only }: TargetSqlChoices,
  { env, out, err }: { env: NodeJS.ProcessEnv; out: NodeJS.WritableStream; err: NodeJS.WritableStream },
): Promise<number> {
  const { VAULT_ADDR: address, VAULT_TOKEN: token } = env
  if (!token) {
    err.write('leasehold: VAULT_TOKEN is not set\n')
    return 1
  }
  const api = openApi((address || DEFAULT_ADDRESS).replace(/\/+$/, ''), token)
  const wishes = { groups: group, databases: database, logins: login }
  const scripts = await askScripts(api, `${mount}/config/${encodeURIComponent(name)}/enrolment-sql`, wishes)
  const chosen = only === undefined ? scripts : scripts.filter((script) => script.database === only)
  if (chosen.length === 0) {
    err.write(
      `leasehold: there is nothing for database ${JSON.stringify(only)}; name it with --database too\n`,
    )
    return 1
  }
  const unsayable = only === undefined && scripts.find(({ database }) => /[\r\n]/.test(database))
  if (unsayable) {
    // A line break ends a command of psql's, and what follows could be another: one that runs a program.
    err.write(
      `leasehold: psql cannot be told to connect to database ${JSON.stringify(unsayable.database)}; use --only\n`,
    )
    return 1
  }
  out.write(chosen.map((script) => (scripts.length > 1 && !only ? connected(script) : script.sql)).join('\n'))
  return 0
}

async function askScripts(
  api: Api,
  path: string,
  wishes: Readonly<Record<string, string[]>>,
): Promise<Script[]> {
  const query = new URLSearchParams(
    Object.entries(wishes).flatMap(([field, names]) => names.map((name): [string, string] => [field, name])),
  )
  const answer = await api.ask('GET', `${path}?${query}`).catch((error) => {
    if (error instanceof ApiError && error.status === 404)
      throw new Error(`there is no connection at ${path}`)
    throw error
  })
  return answer?.data?.scripts as Script[]
}

/**
 * psql takes a plain name there as SQL does; any other goes as a parameter, or psql might read in it which server to
 * connect to.
 */
const connected = ({ database, sql }: Script): string => {
  const isPlain = /^[A-Za-z0-9_.-]+$/.test(database)
  const named = isPlain ? database : `dbname='${database.replaceAll(/[\\']/g, '\\$&')}'`
  return `\\connect ${isPlain ? '' : '-reuse-previous=on '}"${named.replaceAll('"', '""')}"\n${sql}`
}
