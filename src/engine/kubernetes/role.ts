import { formatDuration } from '../../lib/duration.ts'
import { BrokerError, messageOf } from '../../lib/errors.ts'
import { jsonOrYaml, LABEL_KEY, LABEL_VALUE, parseSelector } from '../../lib/kubernetes/selector.ts'
import { isObject } from '../../lib/objects.ts'
import type { Checked, Spec } from '../engine.ts'
import { booleanField, given, listField, mapField, textField, wholeField } from '../fields.ts'
import { compileNameTemplate } from '../username-template.ts'

export type RoleKind = 'Role' | 'ClusterRole'

/** One rule of a role, as RBAC has them. */
export type Rule = {
  verbs: string[]
  apiGroups?: string[]
  resources?: string[]
  resourceNames?: string[]
  nonResourceURLs?: string[]
}

/** What a lease of the role is made of. */
export type Mode =
  | { kind: 'existing'; serviceAccount: string }
  | { kind: 'bound'; roleKind: RoleKind; roleName: string }
  | { kind: 'generated'; roleKind: RoleKind; rulesText: string }

const MODES = ['service_account_name', 'kubernetes_role_name', 'generated_role_rules'] as const
const OBJECT_NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/
/** RBAC objects are named more freely: `system:aggregate-to-view`. */
const RBAC_NAME = /^(?!\.{1,2}$)[^/%\s\0]{1,253}$/
export const NAMESPACE_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const MAX_RULES = 256
const MAX_ITEMS = 256
const MAX_TEXT = 16 * 1_024
const MAX_LETTERS = 256 * 1_024
const MAX_TTL = 100 * 365 * 86_400

const refuse = (text: string): BrokerError => new BrokerError('invalid_request', text)

export async function checkRole(fields: Spec): Promise<Checked> {
  const spec = given({
    allowed_kubernetes_namespaces: checkNamespaces(listField(fields, 'allowed_kubernetes_namespaces')),
    allowed_kubernetes_namespace_selector: textField(fields, 'allowed_kubernetes_namespace_selector'),
    token_max_ttl: wholeField(fields, 'token_max_ttl', { min: 0, max: MAX_TTL }),
    token_default_ttl: wholeField(fields, 'token_default_ttl', { min: 0, max: MAX_TTL }),
    token_default_audiences: listField(fields, 'token_default_audiences'),
    service_account_name: textField(fields, 'service_account_name'),
    kubernetes_role_name: textField(fields, 'kubernetes_role_name'),
    generated_role_rules: textField(fields, 'generated_role_rules'),
    kubernetes_role_type: checkRoleType(textField(fields, 'kubernetes_role_type')),
    name_template: textField(fields, 'name_template'),
    extra_labels: checkLabels(mapField(fields, 'extra_labels')),
    extra_annotations: checkAnnotations(mapField(fields, 'extra_annotations')),
    renewable: booleanField(fields, 'renewable'),
    condition: textField(fields, 'condition'),
    labels: mapField(fields, 'labels'),
    environment: textField(fields, 'environment'),
    lease_outlives_token: booleanField(fields, 'lease_outlives_token'),
    recheck_on_renew: booleanField(fields, 'recheck_on_renew'),
  })
  await checkWhere(spec)
  await checkWhat(spec)
  checkTtls(spec)
  if (spec.name_template) compileNameTemplate(String(spec.name_template))
  return { spec, warnings: [] }
}

async function checkWhere(spec: Spec): Promise<void> {
  const selector = spec.allowed_kubernetes_namespace_selector as string | undefined
  if (allowedNamespaces(spec).length === 0 && selector === undefined) {
    throw refuse(
      'one (at least) of allowed_kubernetes_namespaces or allowed_kubernetes_namespace_selector must be set',
    )
  }
  if (selector === undefined) return
  await parseSelector(selector).catch((cause: unknown) => {
    throw refuse(`failed to parse 'allowed_kubernetes_namespace_selector': ${messageOf(cause)}`)
  })
}

async function checkWhat(spec: Spec): Promise<void> {
  if (MODES.filter((name) => spec[name] !== undefined).length !== 1) {
    throw refuse(
      'one (and only one) of service_account_name, kubernetes_role_name or generated_role_rules must be set',
    )
  }
  const mode = readMode(spec)
  if (mode.kind === 'existing' && !OBJECT_NAME.test(mode.serviceAccount)) {
    throw refuse('service_account_name is not a name that a service account can have')
  }
  if (mode.kind === 'bound' && !RBAC_NAME.test(mode.roleName)) {
    throw refuse('kubernetes_role_name is not a name that a role can have')
  }
  if (mode.kind === 'generated') await parseRules(mode.rulesText)
}

function checkTtls({ token_default_ttl: least, token_max_ttl: most }: Spec): void {
  if (!most || Number(least ?? 0) <= Number(most)) return
  const [shown, bound] = [least, most].map((seconds) => formatDuration(Number(seconds)))
  throw refuse(`token_default_ttl ${shown} cannot be greater than token_max_ttl ${bound}`)
}

function checkRoleType(type: string | undefined): RoleKind | undefined {
  if (type === undefined) return undefined
  const known = (['Role', 'ClusterRole'] as const).find((kind) => kind.toLowerCase() === type.toLowerCase())
  if (!known) throw refuse("kubernetes_role_type must be either 'Role' or 'ClusterRole'")
  return known
}

function checkNamespaces(names: string[] | undefined): string[] | undefined {
  for (const name of names ?? []) {
    if (name !== '*' && !NAMESPACE_NAME.test(name)) {
      throw refuse('allowed_kubernetes_namespaces holds something that is not the name of a namespace')
    }
  }
  return names && [...new Set(names)]
}

function checkLabels(labels: Record<string, unknown> | undefined): Record<string, unknown> | undefined {
  for (const [key, value] of Object.entries(labels ?? {})) {
    if (!LABEL_KEY.test(key) || typeof value !== 'string' || !LABEL_VALUE.test(value)) {
      throw refuse('extra_labels holds something that is not a label')
    }
  }
  return labels
}

function checkAnnotations(annotations: Record<string, unknown> | undefined) {
  for (const [key, value] of Object.entries(annotations ?? {})) {
    if (!LABEL_KEY.test(key) || typeof value !== 'string' || value.length > MAX_TEXT) {
      throw refuse('extra_annotations holds something that is not an annotation')
    }
  }
  return annotations
}

export const allowedNamespaces = (role: Spec): string[] =>
  (role.allowed_kubernetes_namespaces as string[] | undefined) ?? []

/** Of a role that was checked. */
export function readMode(role: Spec): Mode {
  const roleKind = (role.kubernetes_role_type as RoleKind | undefined) ?? 'Role'
  const text = (name: string): string | undefined => role[name] as string | undefined
  const [serviceAccount, roleName] = [text('service_account_name'), text('kubernetes_role_name')]
  if (serviceAccount !== undefined) return { kind: 'existing', serviceAccount }
  if (roleName !== undefined) return { kind: 'bound', roleKind, roleName }
  return { kind: 'generated', roleKind, rulesText: text('generated_role_rules') ?? '' }
}

const malformed = (problem: string): BrokerError =>
  refuse(`failed to parse 'generated_role_rules' as a list of RBAC rules: ${problem}`)

/** The rules of a document `{rules: [...]}`, JSON or YAML. What only the cluster can judge is left to it. */
export async function parseRules(text: string): Promise<Rule[]> {
  if (text.length > MAX_TEXT) throw malformed(`it is longer than ${MAX_TEXT} characters`)
  const document = await jsonOrYaml(text).catch((cause: unknown) => {
    throw malformed(messageOf(cause))
  })
  const rules = isObject(document) ? document.rules : undefined
  if (!Array.isArray(rules) || rules.length === 0) throw malformed('it needs a list "rules"')
  if (rules.length > MAX_RULES) throw malformed(`it holds more than ${MAX_RULES} rules`)
  const read = rules.map(readRule)
  // In YAML a few lines can stand for any number of them.
  const letters = read
    .flatMap((rule) => Object.values(rule).flat())
    .reduce((sum, { length }) => sum + length, 0)
  if (letters > MAX_LETTERS) throw malformed(`its rules hold more than ${MAX_LETTERS} characters`)
  return read
}

const RULE_FIELDS = ['verbs', 'apiGroups', 'resources', 'resourceNames', 'nonResourceURLs']

/** Lists of texts and nothing else: a field that is spelled wrong would silently widen what the rule grants. */
function readRule(rule: unknown): Rule {
  if (!isObject(rule)) throw malformed('each rule must be a map')
  for (const [name, items] of Object.entries(rule)) {
    if (!RULE_FIELDS.includes(name))
      throw malformed(`a rule has no field ${JSON.stringify(name.slice(0, 64))}`)
    const fits =
      Array.isArray(items) && items.length <= MAX_ITEMS && items.every((item) => typeof item === 'string')
    if (!fits) throw malformed(`${name} must be a list of texts`)
  }
  if (!Array.isArray(rule.verbs) || rule.verbs.length === 0) throw malformed('a rule needs verbs')
  return rule as Rule
}
