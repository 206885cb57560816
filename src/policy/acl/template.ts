/** Whose identity fills `{{…}}` in paths. */
export type PolicyIdentity = {
  entity?: {
    id: string
    name: string
    metadata: Readonly<Record<string, string>>
    aliases: readonly EntityAlias[]
  }
  groups?: readonly { id: string; name: string; metadata?: Readonly<Record<string, string>> }[]
}

type EntityAlias = {
  mountAccessor: string
  id: string
  name: string
  metadata: Readonly<Record<string, string>>
  customMetadata?: Readonly<Record<string, string>>
}

/** What a path reads as, piece by piece: literal text, or a slot and where it was written. */
type Piece = { text: string } | { selector: string; index: number; length: number }

type Fault = { index: number; reason: string }

const ENTITY =
  /^identity\.entity\.(?:(id|name)|metadata\.(.+)|aliases\.([^.]+)\.(?:(id|name)|(metadata|custom_metadata)\.(.+)))$/

const GROUP = /^identity\.groups\.(ids|names)\.([^.]+)\.(?:(id|name)|metadata\.(.+))$/

export const isTemplated = (path: string): boolean => path.includes('{{') || path.includes('}}')

/** Why the templates in a path can never be filled, or undefined. Vault checks the braces only; a typo is caught too. */
export function templateFault(path: string): Fault | undefined {
  const pieces = cut(path)
  if ('reason' in pieces) return pieces
  for (const piece of pieces) {
    if ('selector' in piece && !ENTITY.test(piece.selector) && !GROUP.test(piece.selector)) {
      return { index: piece.index, reason: `no value can be found for template "${piece.selector}"` }
    }
  }
  return undefined
}

/** The path with its templates blotted out by as many harmless characters, so that the rest can be looked at. */
export function withoutTemplates(path: string): string {
  const pieces = cut(path)
  if ('reason' in pieces) return path
  return pieces.map((piece) => ('text' in piece ? piece.text : 'x'.repeat(piece.length))).join('')
}

/**
 * The path for this identity; undefined when a value is missing, empty, or would change what the pattern means: no
 * slash, no star and no leading plus may come from a name or a claim, for somebody chose it.
 */
export function fillTemplate(path: string, identity: PolicyIdentity): string | undefined {
  const pieces = cut(path)
  if ('reason' in pieces) return undefined
  let filled = ''
  for (const piece of pieces) {
    const text = 'text' in piece ? piece.text : valueFor(piece.selector, identity)
    if (text === undefined) return undefined
    if ('selector' in piece && (text === '' || /[/*]|^\+/.test(text))) return undefined
    filled += text
  }
  return filled
}

function cut(path: string): Piece[] | Fault {
  const pieces: Piece[] = []
  let from = 0
  while (from < path.length) {
    const open = path.indexOf('{{', from)
    const close = path.indexOf('}}', from)
    if (open < 0 && close < 0) break
    const end = path.indexOf('}}', open + 2)
    const nested = path.indexOf('{{', open + 2)
    if (open < 0 || close < open || end < 0 || (nested >= 0 && nested < end)) {
      const index = open < 0 || (close >= 0 && close < open) ? close : open
      return { index, reason: 'failed to validate policy templating: unbalanced templating characters' }
    }
    pieces.push({ text: path.slice(from, open) })
    pieces.push({ selector: path.slice(open + 2, end).trim(), index: open, length: end + 2 - open })
    from = end + 2
  }
  pieces.push({ text: path.slice(from) })
  return pieces
}

function valueFor(selector: string, identity: PolicyIdentity): string | undefined {
  const entity = ENTITY.exec(selector)
  if (entity) return entityValue(entity, identity.entity)
  const [, by, which, field, metadataKey] = GROUP.exec(selector) ?? []
  const group = identity.groups?.find(({ id, name }) => (by === 'ids' ? id : name) === which)
  if (!group) return undefined
  return field ? group[field as 'id' | 'name'] : own(group.metadata, metadataKey)
}

function entityValue(
  [, field, metadataKey, accessor, aliasField, aliasMap, aliasKey]: RegExpExecArray,
  entity: PolicyIdentity['entity'],
): string | undefined {
  if (!entity) return undefined
  if (field) return entity[field as 'id' | 'name']
  if (metadataKey !== undefined) return own(entity.metadata, metadataKey)
  const alias = entity.aliases.find(({ mountAccessor }) => mountAccessor === accessor)
  if (!alias) return undefined
  if (aliasField) return alias[aliasField as 'id' | 'name']
  return own(aliasMap === 'metadata' ? alias.metadata : alias.customMetadata, aliasKey)
}

const own = (map: Readonly<Record<string, string>> | undefined, key: string | undefined) =>
  map && key !== undefined && Object.hasOwn(map, key) ? map[key] : undefined
