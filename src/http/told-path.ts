/** Tokens as we and others make them. */
export const TOKEN_LIKE = /\b(lh|hvs|hvb|s|b)\.[\w-]{8,}/g

/**
 * What old clients ask of the token store with the token in the path: there is no such route, and so nothing to tell
 * which part is secret but its place. A token may have any text. Roles have a name there.
 */
const IN_TOKEN_STORE = /((?:^|\/)auth\/token\/(?!(?:roles|create)\/)[^/]+\/)[^/].*$/s

/** A path as requests have it, and as it may stand in logs and in the audit log: without tokens. */
export const toldPath = (path: string): string =>
  path.replace(IN_TOKEN_STORE, '$1[token]').replace(TOKEN_LIKE, '[token]')

const LONGEST = 512

/** The same of a request line, without its query, and cut. It may be one that cannot be read. */
export function toldUrl(url: string): string {
  const [raw = ''] = url.split('?', 1)
  // As `readTarget` reads it, but for what it refuses: however a token is spelt, it is none of the log's business.
  const path = `/${decoded(raw).split('/').filter(Boolean).join('/')}`
  const told = toldPath(path)
  return (told === path ? raw : told).replace(TOKEN_LIKE, '[token]').slice(0, LONGEST)
}

const decoded = (raw: string): string =>
  raw.replace(/(?:%[\da-f]{2})+/gi, (escaped) => {
    try {
      return decodeURIComponent(escaped)
    } catch {
      return escaped
    }
  })
