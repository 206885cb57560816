import { ID_PATTERN } from '../../lib/ids.ts'

/** Small pieces of SQL text. Our sessions set their `sql_mode`, so backslashes escape and `"` quotes text. */

export const identifier = (name: string): string => `\`${name.replaceAll('`', '``')}\``

export const literal = (text: string): string => `'${text.replace(/['\\]/g, (mark) => `${mark}${mark}`)}'`

export const literals = (texts: Iterable<string>): string => {
  const list = [...texts].map(literal).join(', ')
  // No name is empty, so this finds nothing.
  return list === '' ? "''" : list
}

/** An account is a user name together with the hosts it may come from; both are its name. */
export type UserAtHost = { user: string; host: string }

export const DEFAULT_HOST = '%'

/** At the last `@`: user names of ours hold none, and hosts never do. */
export function userAtHost(name: string): UserAtHost {
  const at = name.lastIndexOf('@')
  return at < 0 ? { user: name, host: DEFAULT_HOST } : { user: name.slice(0, at), host: name.slice(at + 1) }
}

export const fullName = ({ user, host }: UserAtHost): string => `${user}@${host}`

/** As statements name an account. */
export const accountText = ({ user, host }: UserAtHost): string => `${identifier(user)}@${identifier(host)}`

export const accountTexts = (accounts: Iterable<UserAtHost>): string =>
  [...accounts].map(accountText).join(', ')

/** The server's named lock on an account, which making it and proving its absence both take. At most 64 characters. */
export const lockName = (user: string): string => `leasehold.${user}`

const OUR_USER = /^v_(?:[^@]{1,5}_)?([0-9a-z]{24})$/

/** The lease of a user of our naming. No kind of account here can carry a mark but by its name. */
export function leaseIdInUser(user: string): string | undefined {
  const id = OUR_USER.exec(user)?.[1]
  return id !== undefined && ID_PATTERN.test(id) ? id : undefined
}

export const OUR_USERS_LIKE = "'v\\\\_%'"
