import { messageOf } from '../../lib/errors.ts'
import { parseSelector } from '../../lib/kubernetes/selector.ts'
import { listField, refused, textField, type WireFields } from '../jwt/fields.ts'

/** Which service accounts may log in under a role, as the wire names it and as it is stored. */
export type KubernetesRole = {
  /** Texts in which `*` stands for any characters; `*` alone for every account. */
  bound_service_account_names: string[]
  bound_service_account_namespaces: string[]
  /** A label selector as it was written, JSON or YAML; empty for none. Either this or the namespaces must fit. */
  bound_service_account_namespace_selector: string
  /** Empty for whatever audience the token itself names. */
  audience: string
  alias_name_source: (typeof ALIAS_NAME_SOURCES)[number]
}

const ALIAS_NAME_SOURCES = ['serviceaccount_uid', 'serviceaccount_name'] as const

/**
 * The document to store for what was sent, `token_*` fields apart; with `before`, a field that was not sent keeps its
 * value. Rejects with the dialect's refusal.
 */
export async function checkKubernetesRole(
  fields: WireFields,
  before?: KubernetesRole,
): Promise<KubernetesRole> {
  const names = listField(fields, 'bound_service_account_names')
  const namespaces = listField(fields, 'bound_service_account_namespaces')
  const selector = textField(fields, 'bound_service_account_namespace_selector')
  const source = readAliasNameSource(fields)
  const role: KubernetesRole = {
    bound_service_account_names: names ?? before?.bound_service_account_names ?? [],
    bound_service_account_namespaces: namespaces ?? before?.bound_service_account_namespaces ?? [],
    bound_service_account_namespace_selector:
      // Only blanks go: indentation has a meaning in YAML, on the first line too.
      selector?.replace(/^\s+$/, '') ?? before?.bound_service_account_namespace_selector ?? '',
    audience: (textField(fields, 'audience') ?? before?.audience ?? '').trim(),
    alias_name_source: source ?? before?.alias_name_source ?? 'serviceaccount_uid',
  }
  if (role.bound_service_account_names.length === 0) {
    throw refused('"bound_service_account_names" can not be empty')
  }
  checkWildcard(role.bound_service_account_names)
  await checkNamespaces(role)
  return role
}

/** What the writer of a role should hear of it. */
export const roleWarnings = ({ audience }: { audience?: unknown }): string[] =>
  audience === '' ? [NO_AUDIENCE] : []

const NO_AUDIENCE =
  'the role names no audience, so it takes tokens that were made for others, such as the API server: whoever is ' +
  'shown one can log in with it. Set "audience", and log in with tokens that were asked for with it'

async function checkNamespaces(role: KubernetesRole): Promise<void> {
  const selector = role.bound_service_account_namespace_selector
  if (role.bound_service_account_namespaces.length === 0 && selector === '') {
    throw refused(
      '"bound_service_account_namespaces" can not be empty if "bound_service_account_namespace_selector" is not set',
    )
  }
  checkWildcard(role.bound_service_account_namespaces)
  if (selector === '') return
  try {
    await parseSelector(selector)
  } catch (cause) {
    throw refused(`invalid "bound_service_account_namespace_selector" configured: ${messageOf(cause)}`)
  }
}

function checkWildcard(names: readonly string[]): void {
  if (names.length > 1 && names.includes('*')) throw refused('can not mix "*" with values')
}

/** An empty text is the same as none. */
function readAliasNameSource(fields: WireFields): KubernetesRole['alias_name_source'] | undefined {
  const text = textField(fields, 'alias_name_source') ?? ''
  const source = ALIAS_NAME_SOURCES.find((name) => name === text)
  if (source === undefined && text !== '') {
    throw refused(`invalid alias_name_source, must be one of: ${ALIAS_NAME_SOURCES.join(', ')}`)
  }
  return source
}
