import { readFileSync } from 'node:fs'
import { factoryAjv } from 'express-openapi-validator/dist/framework/ajv/factory.js'
import { parse } from 'yaml'

/** openapi.yaml as it is used in tests: to look things up in, and to hold a request and its response against. */

export type Schema = { [keyword: string]: unknown }
export type Parameter = { name: string; in: 'path' | 'query' | 'header'; required?: boolean; schema: Schema }
type Content = { content?: Record<string, { schema: Schema }> }
export type Described = {
  parameters?: Parameter[]
  requestBody?: Content
  responses: Record<string, Content & { description: string }>
  security?: Record<string, string[]>[]
  'x-vault-sudo'?: boolean
}
export const METHODS = ['get', 'head', 'post', 'put', 'delete', 'patch'] as const
export type Method = (typeof METHODS)[number]
export type PathItem = { parameters?: Parameter[] } & { [M in Method]?: Described }
/** As it is written: anything in it may still be a `$ref`. */
export type Contract = {
  openapi: string
  info: { version: string }
  paths: Record<string, PathItem>
} & Schema

const FILE = new URL('../../openapi.yaml', import.meta.url)

/** A fresh copy each time, so that a test may change it. */
export function readContract(): Contract {
  // Through JSON: YAML's aliases are one object in many places.
  return JSON.parse(JSON.stringify(parse(readFileSync(FILE, 'utf8')))) as Contract
}

/** A copy with every `$ref` replaced by what it points at; what stands beside a `$ref` wins. */
export function resolved<T>(document: Contract, node: T): T {
  if (Array.isArray(node)) return node.map((item) => resolved(document, item)) as T
  if (typeof node !== 'object' || node === null) return node
  const { $ref, ...own } = node as Schema
  const target = typeof $ref === 'string' ? resolved(document, pointed(document, $ref)) : {}
  const copied = Object.entries(own).map(([key, value]) => [key, resolved(document, value)])
  return { ...target, ...Object.fromEntries(copied) } as T
}

export function pointed(document: Contract, ref: string): Schema {
  const found = ref
    .replace(/^#\//, '')
    .split('/')
    .reduce<unknown>((node, key) => (node as Schema | undefined)?.[key], document)
  if (!found) throw new Error(`openapi.yaml: ${ref} points at nothing`)
  return found as Schema
}

/** What was asked and what came back. */
export type Exchange = {
  method: string
  url: string
  /** As it was sent; undefined when it was no text. */
  requestBody: string | undefined
  status: number
  headers: Headers
  responseBody: string
}

/** `fetch`, and an error that says where request or response differ from openapi.yaml. LIST is understood. */
export async function contractFetch(input: string | URL, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(input, init)
  const problems = contractProblems({
    method: init.method ?? 'GET',
    url: String(input),
    requestBody: typeof init.body === 'string' ? init.body : undefined,
    status: response.status,
    headers: response.headers,
    responseBody: await response.clone().text(),
  })
  if (problems.length > 0) {
    throw new Error(
      `${init.method ?? 'GET'} ${input} is not as openapi.yaml says:\n  ${problems.join('\n  ')}`,
    )
  }
  return response
}

/** The operations of the contract that were asked with success in this test file: `get /sys/health`. */
export const answered = new Set<string>()

/** Those of a part of the contract that were not. Where people sign in, a login with a token is refused whatever it is. */
export function unanswered(isOfPart: (path: string) => boolean): string[] {
  const maySucceed = (described: Described | undefined): boolean =>
    Object.keys(described?.responses ?? {}).some((status) => status.startsWith('2'))
  const asked = Object.entries(readContract().paths)
    .filter(([path]) => isOfPart(path))
    .flatMap(([path, item]) =>
      METHODS.filter((method) => method !== 'head' && maySucceed(item[method])).map((method) =>
        // POST and PUT are one.
        [method === 'put' ? 'post' : method, path].join(' '),
      ),
    )
  const missing = asked.filter((name) => !answered.has(name) && !answered.has(name.replace(/^post/, 'put')))
  return [...new Set(missing)].sort()
}

/** What people decide, and what pages list: asked in a file of its own. */
export const isOfPeople = (path: string): boolean =>
  /^\/(break-glass|sys\/control-group|auth\/\{webauthn_mount\})\/|^\/sys\/leasehold\/(leases|leases-self|targets|summary|audit\/state)(\/|$)/.test(
    path,
  )

/** Empty when the exchange is as the contract says. */
export function contractProblems(exchange: Exchange): string[] {
  noteMount(exchange)
  const { pathname, searchParams } = new URL(exchange.url)
  const operation = pathname.startsWith('/v1/')
    ? findOperation(exchange.method, pathname, searchParams)
    : undefined
  const problems = headerProblems(exchange)
  if (!operation) {
    if (exchange.status < 400) return [...problems, `answered ${exchange.status}, and is not described`]
    return [...problems, ...bodyProblems(ERROR, exchange)]
  }
  const { responses } = operation.described
  const described = responses[exchange.status] ?? responses.default
  if (!described) return [...problems, `the status ${exchange.status} is not described`]
  if (exchange.status < 300) answered.add(operation.name)
  const accepted = exchange.status < 400 ? requestProblems(operation, exchange, searchParams) : []
  return [...problems, ...accepted, ...bodyProblems(described, exchange)]
}

type Operation = {
  name: string
  described: Described
  parameters: Parameter[]
  captured: Record<string, string>
}
type KnownPath = { path: string; item: PathItem; pattern: RegExp; names: string[] }

/** Mounts that were seen being enabled, by path, and their types: the paths of two types look alike. */
const authMounts = new Map<string, string>()
const secretMounts = new Map<string, string>([['kubernetes', 'kubernetes']])

const ENABLING = /^\/v1\/sys\/(auth|mounts)\/(.+?)\/*$/

function noteMount({ method, url, status, requestBody }: Exchange): void {
  const [, where, path] = ENABLING.exec(decodeURIComponent(new URL(url).pathname)) ?? []
  if (path === undefined || !['POST', 'PUT'].includes(method) || status > 299) return
  const { type } = (jsonOf(requestBody ?? '') ?? {}) as { type?: unknown }
  const mounts = where === 'auth' ? authMounts : secretMounts
  if (typeof type === 'string') mounts.set(path, type)
}

/** What a path captures of one that was asked. `/auth/{jwt_mount}/` is where a mount is `jwt`, as far as is known. */
function capturedBy(pattern: RegExp, asked: string): Record<string, string> | undefined {
  const match = pattern.exec(asked)
  const captured = { ...match?.groups }
  const isOther = Object.entries(captured).some(([name, path]) => {
    if (name === 'mount' || name === 'kubernetes_secrets_mount') {
      const isKubernetes = secretMounts.get(path) === 'kubernetes'
      return isKubernetes !== (name === 'kubernetes_secrets_mount')
    }
    const type = /^(\w+)_mount$/.exec(name)?.[1]
    return type !== undefined && (authMounts.get(path) ?? type) !== type
  })
  return match && !isOther ? captured : undefined
}

const document = readContract()
const paths: KnownPath[] = Object.entries(resolved(document, document.paths))
  .sort(([a], [b]) => literalHead(b) - literalHead(a) || literals(b) - literals(a))
  .map(([path, item]) => ({ path, item, ...pathPattern(path, item.parameters ?? []) }))
const ERROR: Content = resolved(document, { $ref: '#/components/responses/BadRequest' }) as Content

/** Of two paths that fit, the one that says more in plain words is meant. */
function literalHead(path: string): number {
  return path.split('{', 1)[0]?.length ?? 0
}

function literals(path: string): number {
  return path.replace(/\{\w+\}/g, '').length
}

function pathPattern(path: string, parameters: Parameter[]): { pattern: RegExp; names: string[] } {
  const names: string[] = []
  const source = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    names.push(name)
    const { schema } = parameters.find((each) => each.name === name) as Parameter
    return `(?<${name}>${String(schema.pattern).replace(/^\^|\$$/g, '')})`
  })
  return { pattern: new RegExp(`^${source}$`), names }
}

const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True']
const LEGACY = /^\/sys\/(renew|revoke|revoke-prefix|revoke-force)(?=\/|$)/

const methodFor = (sent: string, listing: boolean): Method =>
  (listing || sent === 'HEAD' ? 'get' : sent.toLowerCase()) as Method

function findOperation(sent: string, pathname: string, query: URLSearchParams): Operation | undefined {
  const asked = decodeURIComponent(pathname.slice('/v1'.length))
    .replace(/\/+/g, '/')
    .replace(/(?<=.)\/$/, '')
    .replace(LEGACY, '/sys/leases/$1')
  const listing = sent === 'LIST' || (sent === 'GET' && TRUE.includes(query.get('list') ?? ''))
  const method = methodFor(sent, listing)
  for (const { path, item, pattern } of paths) {
    const captured = capturedBy(pattern, asked)
    if (!captured) continue
    const described = item[method]
    const parameters = [...(item.parameters ?? []), ...(described?.parameters ?? [])]
    const list = parameters.find(({ name }) => name === 'list')
    if (!described || (listing ? !list : list?.required)) return undefined
    return { name: `${method} ${path}`, described, parameters, captured }
  }
  return undefined
}

function headerProblems({ method, status, headers, responseBody }: Exchange): string[] {
  const problems: string[] = []
  const type = headers.get('content-type')
  const bodiless = responseBody === ''
  if (!bodiless && type !== 'application/json') problems.push(`the content type is ${type}`)
  if (bodiless && status !== 202 && method !== 'HEAD' && type !== null) problems.push('a type without a body')
  if (headers.get('cache-control') !== 'no-store') problems.push('Cache-Control is not no-store')
  if (Number.isNaN(Date.parse(headers.get('date') ?? ''))) problems.push('no Date')
  return problems
}

/** Of a request that was accepted: one that is refused need not be as described. */
function requestProblems(
  { described, parameters, captured }: Operation,
  exchange: Exchange,
  query: URLSearchParams,
) {
  const problems = parameters.flatMap(({ in: where, name, schema, required }) => {
    const sent = where === 'path' ? [captured[name] ?? ''] : where === 'query' ? query.getAll(name) : []
    // LIST says it without the query.
    if (name === 'list') return []
    if (required && sent.length === 0) return [`the ${where} lacks ${name}`]
    return sent.flatMap((value) => problemsOf(schema, value, `${where} parameter ${name}`))
  })
  const schema = described.requestBody?.content?.['application/json']?.schema
  const body = jsonOf(exchange.requestBody || '{}')
  return [...problems, ...(schema && body !== undefined ? problemsOf(schema, body, 'request body') : [])]
}

function bodyProblems(described: Content, { method, responseBody }: Exchange): string[] {
  if (method === 'HEAD') return responseBody === '' ? [] : ['a body after HEAD']
  const schema = described.content?.['application/json']?.schema
  if (!schema) return responseBody === '' ? [] : ['the response has a body, and none is described']
  const body = jsonOf(responseBody)
  return body === undefined
    ? ['the response is not JSON']
    : problemsOf(closedOf(schema), body, 'response body')
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Every object in the schema without the keys it does not name. Clients must bear new ones; our tests want to know. */
function closedOf(schema: Schema): Schema {
  const known = closedSchemas.get(schema)
  if (known) return known
  const made = closed(schema, false)
  closedSchemas.set(schema, made)
  return made
}

const closedSchemas = new WeakMap<Schema, Schema>()

function closed<T>(node: T, partOfWhole: boolean): T {
  if (Array.isArray(node)) return node.map((item) => closed(item, partOfWhole)) as T
  if (typeof node !== 'object' || node === null) return node
  const schema: Schema = Object.fromEntries(
    Object.entries(node).map(([key, value]) => [key, closed(value, key === 'allOf')]),
  )
  if (partOfWhole) return schema as T
  if (Array.isArray(schema.allOf)) return { unevaluatedProperties: false, ...schema } as T
  if (isObjectSchema(schema)) return { additionalProperties: false, ...schema } as T
  return schema as T
}

/** Not a map of properties that happens to hold one called "properties". */
const isObjectSchema = ({ type, properties }: Schema): boolean =>
  typeof properties === 'object' && (type === undefined || [type].flat().includes('object'))

const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** An unknown keyword in a schema is an error; that a subschema of `allOf` does not repeat its type is not. */
const ajv = factoryAjv('3.1.0', { allErrors: true, strict: true, strictTypes: false, strictRequired: false })
ajv.addFormat('date-time', DATE_TIME)
ajv.addFormat('uuid', UUID)

/** What keeps the value from being as the schema says; the schema has no `$ref` left. */
export function problemsOf(schema: Schema, value: unknown, what: string): string[] {
  // Ajv keeps what it compiled by the schema object.
  const validate = ajv.compile(schema)
  if (validate(value)) return []
  return (validate.errors ?? []).map(({ instancePath, message, params }) =>
    [what, instancePath, message, JSON.stringify(params)].filter(Boolean).join(' '),
  )
}
