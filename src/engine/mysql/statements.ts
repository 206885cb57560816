import { EngineError } from '../engine.ts'
import {
  checkedStatements,
  checkSlots,
  fillSlots,
  leadingWords,
  SqlSyntaxError,
  type Statement,
  slotsIn,
  splitAtSemicolons,
  type Token,
} from '../sql-token.ts'
import { type HashPlugin, nativeHash } from './hash.ts'
import { identifier, literal } from './sql.ts'
import { tokenize } from './sql-lexer.ts'

/**
 * A role's or target's own SQL. It is refused when it is written if it could not run safely, and its slots are filled
 * so that no value can leave its place: every value is held to an alphabet in which no quote can be opened or closed.
 *
 * `IDENTIFIED BY '{{password}}'` is sent as the hash of the password, in the server's own form: the password itself
 * stays out of its logs.
 */

export type SlotValues = {
  name: string
  host: string
  password?: PasswordForms
  /** In the dialect's layout, `2006-01-02 15:04:05-0700`. */
  expiration?: string
}

/** A password in the forms in which it can be sent; `identified` is the server's own clause for it. */
export type PasswordForms = {
  plain: string
  identified: (plugin: HashPlugin | undefined) => string
  hashes: Readonly<Partial<Record<HashPlugin, string>>>
}

const SLOT_KINDS: Record<string, keyof SlotValues> = {
  name: 'name',
  username: 'name',
  host: 'host',
  password: 'password',
  expiration: 'expiration',
}

const ALPHABETS: Record<keyof SlotValues, RegExp> = {
  name: /^(?!-|.*--)[A-Za-z0-9_.-]{1,80}$/,
  host: /^(?!.*--)[A-Za-z0-9_.:%/-]{1,255}$/,
  password: /^(?!.*--)[A-Za-z0-9_.~+=:,@%*$/-]+$/,
  expiration: /^\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}$/,
}

/** Checks a field of statements as written by a user, and throws a `BrokerError` that names it. */
export const checkStatements = (field: string, sources: readonly string[]): Statement[] =>
  checkedStatements(
    field,
    () => parseStatements(sources),
    (statement) => {
      checkSlots(statement, (slot) => Object.hasOwn(SLOT_KINDS, slot), JOINS_A_SLOT)
      refuseSessionControl(statement)
    },
  )

export const parseStatements = (sources: readonly string[]): Statement[] =>
  sources.flatMap((source) => splitAtSemicolons(tokenize(source)))

const JOINS_A_SLOT = /[\w$"'`&]/

const REFUSED = new Set(
  `BEGIN START COMMIT END ROLLBACK SAVEPOINT RELEASE XA LOCK UNLOCK PREPARE EXECUTE DEALLOCATE DELIMITER USE KILL
   SHUTDOWN RESTART RESET CHANGE STOP PURGE LOAD HANDLER INSTALL UNINSTALL CLONE HELP`.split(/\s+/),
)

/** Whatever would act on more than the account, or change the session that the next statement runs in. */
function refuseSessionControl(statement: Statement): void {
  const [head = '', second = '', third = ''] = leadingWords(statement, 3)
  if (REFUSED.has(head)) throw new SqlSyntaxError(`${head} is not allowed`)
  if (head !== 'SET') return
  const isOfAccounts = second === 'PASSWORD' || (second === 'DEFAULT' && third === 'ROLE')
  if (!isOfAccounts) throw new SqlSyntaxError(`SET ${second} is not allowed`)
  refuseMoreSettings(statement)
}

/** MariaDB takes further settings behind a comma: `SET DEFAULT ROLE a FOR b, sql_mode = ''`. MySQL's lists end in `TO`. */
function refuseMoreSettings(statement: Statement): void {
  const has = (word: RegExp) => statement.some(({ kind, text }) => kind !== 'blank' && word.test(text))
  if (has(/^,$/) && !has(/^to$/i)) throw new SqlSyntaxError('SET of several things at once is not allowed')
}

const PASSWORD_ONLY = /^['"]?\{\{\s*password\s*\}\}['"]?$/

/** `IDENTIFIED BY '…'`, `IDENTIFIED WITH plugin BY '…'` and `… AS '…'`, where `…` is the password's slot. */
type Clause = { from: number; to: number; plugin: string | undefined; by: string }

function passwordClauses(statement: Statement): Clause[] {
  const words = statement.flatMap((token, at) => (token.kind === 'blank' ? [] : [{ token, at }]))
  return words.flatMap(({ token, at: to }, i) => {
    if (!PASSWORD_ONLY.test(token.text)) return []
    const before = words.slice(Math.max(0, i - 4), i).map((each) => ({ ...each, text: bare(each.token) }))
    const [d, c, b, a] = [before.at(-4), before.at(-3), before.at(-2), before.at(-1)]
    const by = a?.text.toUpperCase() ?? ''
    if (by === 'BY' && b?.text.toUpperCase() === 'IDENTIFIED')
      return [{ from: b.at, to, plugin: undefined, by }]
    const named = /^(WITH|VIA)$/i.test(c?.text ?? '') && d?.text.toUpperCase() === 'IDENTIFIED'
    if (!named || !/^(BY|AS|USING)$/.test(by)) return []
    return [{ from: d?.at ?? to, to, plugin: b?.text.toLowerCase(), by }]
  })
}

const bare = ({ kind, text }: Token): string =>
  kind === 'name' || kind === 'string' ? text.slice(1, -1) : text

const asHashPlugin = (name: string | undefined): HashPlugin | undefined =>
  name === 'mysql_native_password' || name === 'caching_sha2_password' ? name : undefined

/** Clauses that can be sent as a hash: of a plugin whose hash we know, or of the server's own choice. */
const hashedClauses = (statement: Statement): Clause[] =>
  passwordClauses(statement).filter(
    ({ plugin }) => plugin === undefined || asHashPlugin(plugin) !== undefined,
  )

/** Whether any of these sends the password as it is, which the server may then write to its logs. */
export const sendsPlainPassword = (statements: readonly Statement[]): boolean =>
  statements.some((statement) => {
    const hashed = hashedClauses(statement)
    return statement.some(
      ({ kind, text }, at) =>
        kind !== 'blank' &&
        slotsIn(text).includes('password') &&
        !hashed.some(({ from, to }) => from <= at && at <= to),
    )
  })

/** The statement with its slots filled. Throws rather than let a value through that could leave its slot. */
export function render(statement: Statement, values: SlotValues): string {
  const clauses = values.password === undefined ? [] : hashedClauses(statement)
  return statement
    .map((token, at) => {
      const clause = clauses.find(({ from, to }) => from <= at && at <= to)
      if (!clause) return renderToken(token, values)
      return at === clause.from ? renderClause(clause, values.password as PasswordForms) : ''
    })
    .join('')
}

function renderClause({ plugin, by }: Clause, password: PasswordForms): string {
  const hashPlugin = asHashPlugin(plugin)
  if (by === 'BY' || hashPlugin === undefined) return password.identified(hashPlugin)
  const hash =
    hashPlugin === 'mysql_native_password' ? nativeHash(password.plain) : password.hashes[hashPlugin]
  if (hash === undefined) throw new EngineError('failed', `this server has no ${hashPlugin}`)
  return `IDENTIFIED ${by === 'USING' ? 'VIA' : 'WITH'} ${hashPlugin} ${by} ${literal(hash)}`
}

function renderToken(token: Token, values: SlotValues): string {
  // Comments stay as they are, so a slot in one need not be known.
  if (token.kind === 'blank') return token.text
  return fillSlots(token.text, (slot) => {
    const kind = SLOT_KINDS[slot]
    const given = kind && values[kind]
    if (!kind || given === undefined) {
      throw new EngineError('failed', `the slot {{${slot}}} has no value in this statement`)
    }
    const value = typeof given === 'string' ? given : given.plain
    if (!ALPHABETS[kind].test(value)) {
      throw new EngineError(
        'failed',
        `the value for the slot {{${slot}}} holds characters that are not allowed`,
      )
    }
    if (token.kind !== 'slot') return value
    return kind === 'name' || kind === 'host' ? identifier(value) : literal(value)
  })
}
