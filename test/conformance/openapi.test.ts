import { OpenAPISchemaValidator } from 'express-openapi-validator/dist/framework/openapi.schema.validator.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { routeTables } from '../../src/compose/routes.ts'
import {
  bool,
  commaList,
  duration,
  type Field,
  int,
  json,
  keyValues,
  leeway,
  map,
  number,
  stringList,
  text,
} from '../../src/http/fields.ts'
import { type Endpoint, handle, matchRoute, type Route } from '../../src/http/route.ts'
import {
  type Contract,
  contractProblems,
  type Described,
  METHODS,
  type Parameter,
  type PathItem,
  pointed,
  problemsOf,
  readContract,
  resolved,
  type Schema,
} from '../support/contract.ts'

// Both sides are put into the same plain facts, one a line, and compared: what stands on one side alone is a
// disagreement, whichever side it is.

type Tables = Record<string, readonly Route[]>

/** Where the contract shows the routes of a mount type. */
const PLACE: Record<string, string> = {
  system: '/sys',
  'break-glass': '/break-glass',
  token: '/auth/token',
  jwt: '/auth/{jwt_mount}',
  oidc: '/auth/{oidc_mount}',
  kubernetes: '/auth/{kubernetes_mount}',
  approle: '/auth/{approle_mount}',
  webauthn: '/auth/{webauthn_mount}',
  database: '/{mount}',
  'secret/kubernetes': '/{kubernetes_secrets_mount}',
}

const METHODS_OF = {
  read: ['get'],
  list: ['get'],
  update: ['post', 'put'],
  patch: ['patch'],
  delete: ['delete'],
} as const

const SCHEMA_OF = new Map<string, string>([
  [text.expects, 'Text'],
  [bool.expects, 'Bool'],
  [int.expects, 'Int'],
  [number.expects, 'Number'],
  [duration.expects, 'Duration'],
  [commaList.expects, 'CommaList'],
  [stringList.expects, 'StringList'],
  [keyValues.expects, 'KeyValues'],
  [map.expects, 'Map'],
  [leeway.expects, 'Leeway'],
  [json.expects, 'Json'],
])

function factsOfRoutes(tables: Tables): string[] {
  return Object.entries(tables)
    .flatMap(([type, routes]) => routes.flatMap((route) => routeFacts(PLACE[type] ?? `/(${type})`, route)))
    .sort()
}

function routeFacts(place: string, route: Route): string[] {
  const path = `${place}/${route.path.replace(/:(\w+)\*?/g, '{$1}')}`
  const captures = [...`${place.replace(/\{(\w+)\}/, ':$1*')}/${route.path}`.matchAll(/:(\w+)(\*?)/g)]
  return Object.entries(route.on).flatMap(([operation, endpoint]) =>
    METHODS_OF[operation as keyof typeof METHODS_OF].flatMap((method) =>
      [
        operation === 'list' ? ': a list' : '',
        `: proof ${endpoint.proof}`,
        ...(endpoint.sudo ? [': needs sudo'] : []),
        ...captures.map(([, name, rest]) => `: path has ${name}, ${rest ? 'slashes too' : 'a name'}`),
        ...fieldFacts(endpoint),
      ].map((fact) => `${method} ${path}${fact}`),
    ),
  )
}

const fieldFacts = ({ fields }: Endpoint): string[] =>
  Object.entries(fields).flatMap(([name, field]) => [
    `: field ${name}, ${typeOf(field)}${defaultOf(field)}${isRequired(field) ? ', required' : ''}`,
    ...field.aliases.map((alias) => `: field ${alias}, ${typeOf(field)}, deprecated`),
    ...(field.absent && 'refusal' in field.absent ? [`: says ${field.absent.refusal}`] : []),
  ])

const typeOf = (field: Field<unknown, boolean>): string => SCHEMA_OF.get(field.expects) ?? field.expects

/** With an alias neither name alone is required, which JSON Schema says at the body and not at the field. */
const isRequired = ({ absent, aliases }: Field<unknown, boolean>): boolean =>
  absent !== undefined && 'refusal' in absent && aliases.length === 0

/** An empty default is what absent means anyway. */
function defaultOf({ absent }: Field<unknown, boolean>): string {
  if (!absent || !('value' in absent)) return ''
  const empty = absent.value === '' || absent.value === 0 || [absent.value].flat().length === 0
  return empty ? '' : `, else ${JSON.stringify(absent.value)}`
}

/** The refusals of required fields stand in the text of the answer 400; others are found there too and do not matter. */
function factsOfContract(contract: Contract, refusals: readonly string[]): string[] {
  return Object.entries(contract.paths)
    .flatMap(([path, item]) =>
      METHODS.filter((method) => item[method] && method !== 'head').flatMap((method) =>
        operationFacts(contract, item, item[method] as Described, refusals).map(
          (fact) => `${method} ${path}${fact}`,
        ),
      ),
    )
    .sort()
}

function operationFacts(
  contract: Contract,
  item: PathItem,
  operation: Described,
  refusals: readonly string[],
): string[] {
  const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])]
  const resolvedParameters = parameters.map((parameter) => resolved(contract, parameter))
  const refused = resolved(contract, operation.responses['400'])?.description ?? ''
  return [
    ...listFacts(resolvedParameters.find(({ name }) => name === 'list')),
    `: proof ${proofOf(operation)}`,
    ...(operation['x-vault-sudo'] ? [': needs sudo'] : []),
    ...resolvedParameters.filter((parameter) => parameter.in === 'path').map(captureFact),
    ...queryFacts(contract, operation.parameters ?? []),
    ...bodyFacts(contract, operation),
    ...refusals.filter((refusal) => refused.includes(`\`${refusal}\``)).map((refusal) => `: says ${refusal}`),
  ]
}

/** A path that may be asked for either way answers the same. */
const listFacts = (list: Parameter | undefined): string[] => {
  if (!list) return ['']
  return list.required ? [': a list'] : ['', ': a list']
}

function proofOf({ security }: Described): string {
  if (!security) return 'token'
  return security.length === 0 ? 'none' : 'optional'
}

const captureFact = ({ name, schema }: Parameter): string =>
  `: path has ${name}, ${schema.pattern === '^.+$' ? 'slashes too' : 'a name'}`

function queryFacts(contract: Contract, parameters: Parameter[]): string[] {
  return parameters
    .map((parameter) => ({
      ...parameter,
      ...('$ref' in parameter && pointed(contract, String(parameter.$ref))),
    }))
    .filter((parameter) => parameter.in === 'query' && parameter.name !== 'list')
    .map(({ name, schema }) => propertyFact(contract, name, schema as Schema, false))
}

function bodyFacts(contract: Contract, { requestBody }: Described): string[] {
  const written = requestBody?.content?.['application/json']?.schema
  if (!written) return []
  const schema = typeof written.$ref === 'string' ? pointed(contract, written.$ref) : written
  const required = (schema.required as string[] | undefined) ?? []
  return Object.entries(schema.properties as Record<string, Schema>).map(([name, property]) =>
    propertyFact(contract, name, property, required.includes(name)),
  )
}

function propertyFact(contract: Contract, name: string, property: Schema, required: boolean): string {
  const otherwise = property.default === undefined ? '' : `, else ${JSON.stringify(property.default)}`
  const marks = `${required ? ', required' : ''}${property.deprecated ? ', deprecated' : ''}`
  return `: field ${name}, ${schemaName(contract, property)}${otherwise}${marks}`
}

/** The weak type at the end of a chain of references, or the words that are all there is to say. */
function schemaName(contract: Contract, schema: Schema): string {
  if (schema.enum && !schema.$ref) return `one of ${(schema.enum as unknown[]).filter(Boolean).join(', ')}`
  const ref = String(schema.$ref)
  const next = pointed(contract, ref)
  return '$ref' in next ? schemaName(contract, next) : ref.slice(ref.lastIndexOf('/') + 1)
}

/** Building the tables runs nothing, so there need be no parts behind them. */
const tables: Tables = routeTables({
  receipts: {},
  approle: {},
  webauthn: {},
  tokens: { roles: {} },
  grantAccess: {},
} as Parameters<typeof routeTables>[0])

function disagreements(routes: Tables, contract: Contract): string[] {
  const fromRoutes = factsOfRoutes(routes)
  const refusals = new Set(fromRoutes.flatMap((fact) => /: says (.+)$/.exec(fact)?.[1] ?? []))
  const fromContract = factsOfContract(contract, [...refusals])
  return [
    ...fromRoutes.filter((fact) => !fromContract.includes(fact)).map((fact) => `routes only: ${fact}`),
    // A path may say more of what can go wrong than the routes' tables know.
    ...fromContract
      .filter((fact) => !fromRoutes.includes(fact) && !fact.includes(': says '))
      .map((fact) => `openapi.yaml only: ${fact}`),
  ]
}

test('openapi.yaml is a valid OpenAPI 3.1 document', () => {
  const validator = new OpenAPISchemaValidator({ version: '3.1.0', validateApiSpec: true })
  const broken = { ...readContract(), paths: { 'no-slash': { get: {} } } }

  expect(validator.validate(readContract() as never).errors).toEqual([])
  expect(validator.validate(broken as never).errors).not.toEqual([])
})

test('openapi.yaml uses every component it has, and every schema compiles', () => {
  const contract = readContract()
  const written = JSON.stringify(contract)
  const components = contract.components as Record<string, Record<string, Schema>>
  const refs = Object.entries(components).flatMap(([kind, of]) =>
    Object.keys(of).map((name) => `#/components/${kind}/${name}`),
  )
  const unused = refs.filter((ref) => !ref.includes('/securitySchemes/') && !written.includes(`"${ref}"`))

  expect(unused).toEqual([])
  for (const schema of Object.values(components.schemas ?? {}))
    problemsOf(resolved(contract, schema), null, '')
})

describe('routes and openapi.yaml', () => {
  test('say the same', () => {
    expect(Object.keys(tables).sort()).toEqual(Object.keys(PLACE).sort())
    expect(disagreements(tables, readContract())).toEqual([])
  })

  test('agree on what a name is', () => {
    const pattern = new RegExp(
      String(resolved(readContract(), { $ref: '#/components/schemas/Name' } as Schema).pattern),
    )
    const routes = [{ path: ':name', on: {} }]
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'Z', '0', '_', '-', '.', '/', ' ', 'é', '*') }),
        (name) => {
          expect(pattern.test(name)).toBe(matchRoute(routes, name) !== undefined)
        },
      ),
    )
  })

  const nothing = handle({}, async () => undefined)
  const without = (path: string) => ({
    ...tables,
    system: (tables.system ?? []).filter((route) => route.path !== path),
  })
  const changed = (path: string, change: (route: Route) => Route): Tables => ({
    ...tables,
    database: (tables.database ?? []).map((route) => (route.path === path ? change(route) : route)),
  })
  const creds = (change: (endpoint: Endpoint) => Endpoint) =>
    changed('creds/:name', ({ path, on }) => ({ path, on: { read: change(on.read ?? nothing) } }))

  const inRoutes: Record<string, Tables> = {
    'a route too few': without('leases/renew'),
    'a route too many': {
      ...tables,
      token: [...(tables.token ?? []), { path: 'more', on: { read: nothing } }],
    },
    'a mount type too many': { ...tables, radius: [{ path: 'config', on: { read: nothing } }] },
    'an operation too few': changed('roles/:name', ({ path, on: { delete: _, ...on } }) => ({ path, on })),
    'an operation too many': changed('roles', ({ path, on }) => ({ path, on: { ...on, patch: nothing } })),
    'a list that is a read': changed('roles', ({ path, on }) => ({ path, on: { read: on.list ?? nothing } })),
    'a field too many': creds((endpoint) => ({ ...endpoint, fields: { ttl: duration } })),
    'another type of field': changed('config/:name', ({ path, on }) => ({
      path,
      on: { ...on, delete: { ...nothing, fields: { force: int } } },
    })),
    'a capture of another name': changed('creds/:name', ({ on }) => ({ path: 'creds/:role', on })),
    'a capture with slashes': changed('creds/:name', ({ on }) => ({ path: 'creds/:name*', on })),
    'no token needed': creds((endpoint) => ({ ...endpoint, proof: 'none' })),
    'sudo needed': creds((endpoint) => ({ ...endpoint, sudo: true })),
  }

  test.each(Object.entries(inRoutes))('are told apart: %s', (_, routes) => {
    expect(disagreements(routes, readContract())).not.toEqual([])
  })

  const renewal = (contract: Contract) => contract.paths['/sys/leases/renew'] as PathItem
  const inContract: Record<string, (contract: Contract) => void> = {
    'a path too few': ({ paths }) => delete paths['/sys/leases/renew'],
    'a path too many': ({ paths }) => {
      paths['/sys/more'] = { get: { responses: {} } }
    },
    'a method too few': (contract) => delete renewal(contract).put,
    'a method too many': (contract) => {
      renewal(contract).delete = { responses: {} }
    },
    'a field too few': (contract) => delete renewal(contract).post?.requestBody,
    'another type of field': (contract) => {
      const schema = renewal(contract).post?.requestBody?.content?.['application/json']?.schema as Schema
      schema.properties = {
        ...(schema.properties as Schema),
        increment: { $ref: '#/components/schemas/Text' },
      }
    },
    'a refusal that is not told': ({ paths }) => {
      const renew = paths['/auth/token/renew']?.post as Described
      renew.responses['400'] = { description: 'No.' }
    },
  }

  test.each(Object.entries(inContract))('are told apart, in the file: %s', (_, change) => {
    const contract = readContract()
    change(contract)
    expect(disagreements(tables, contract)).not.toEqual([])
  })
})

describe('the weak types of openapi.yaml', () => {
  const contract = readContract()
  const weak: [string, Field<unknown>][] = [
    ['Text', text],
    ['Bool', bool],
    ['Int', int],
    ['Number', number],
    ['Duration', duration],
    ['CommaList', commaList],
    ['StringList', stringList],
    ['KeyValues', keyValues],
    ['Map', map],
    ['Leeway', leeway],
    ['Json', json],
  ]
  const sent = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom(
      '',
      '1',
      'true',
      'T',
      'yes',
      '-5',
      '+5',
      '90',
      '1h30m',
      ' 2d ',
      '1.5h',
      '3 s',
      'a,b',
      'a=b',
      '{"a":"b"}',
    ),
    fc.array(fc.constantFrom('a=b', 'a', '=b', 1, true)),
    fc.dictionary(fc.string(), fc.constantFrom('a', 1, true, null)),
  )

  test.each(weak)('%s takes all that the server takes', (name, field) => {
    const schema = resolved<Schema>(contract, { $ref: `#/components/schemas/${name}` })
    fc.assert(
      fc.property(sent, (value) => {
        if (field.read(value) !== undefined) expect(problemsOf(schema, value, name)).toEqual([])
      }),
      { numRuns: 500 },
    )
    expect(problemsOf(schema, null, name)).toEqual([])
  })

  const refused: [string, Field<unknown>, unknown][] = [
    ['Text', text, ['a']],
    ['Text', text, {}],
    ['Bool', bool, 'yes'],
    ['Int', int, 1.5],
    ['Int', int, '1.5'],
    ['Number', number, 'many'],
    ['Number', number, true],
    ['Duration', duration, -1],
    ['Duration', duration, '-1'],
    ['Duration', duration, '3 s'],
    ['Duration', duration, true],
    ['CommaList', commaList, [{}]],
    ['StringList', stringList, {}],
    ['KeyValues', keyValues, ['a']],
    ['KeyValues', keyValues, { a: {} }],
    ['Leeway', leeway, -2],
    ['Leeway', leeway, '-2'],
    ['Leeway', leeway, []],
    ['Map', map, []],
    ['Map', map, 'a'],
  ]

  test.each(refused)('%s does not take what the server refuses (%#)', (name, field, value) => {
    expect(field.read(value)).toBeUndefined()
    expect(problemsOf(resolved(contract, { $ref: `#/components/schemas/${name}` }), value, name)).not.toEqual(
      [],
    )
  })
})

describe('an exchange held against openapi.yaml', () => {
  const headers = new Headers({
    'content-type': 'application/json',
    'cache-control': 'no-store',
    date: new Date(0).toUTCString(),
  })
  const envelope = {
    request_id: '6a1ce0b8-6a6e-4c2e-9a3b-2f6e1c1a2b3c',
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    data: { keys: ['app'] } as unknown,
    wrap_info: null,
    warnings: null,
    auth: null,
    mount_type: 'database',
  }
  const listed = {
    method: 'LIST',
    url: 'http://localhost/v1/team-a/orders/roles',
    requestBody: undefined,
    status: 200,
    headers,
    responseBody: JSON.stringify(envelope),
  }
  const answering = (body: unknown) => ({ ...listed, responseBody: JSON.stringify(body) })

  test('passes when it is as described', () => {
    expect(contractProblems(listed)).toEqual([])
    expect(contractProblems({ ...listed, method: 'GET', url: `${listed.url}/?list=1` })).toEqual([])
    expect(contractProblems({ ...answering({ errors: [] }), status: 404 })).toEqual([])
    expect(contractProblems({ ...answering({ errors: ['no'] }), status: 405, method: 'POST' })).toEqual([])
  })

  test.each<[string, Parameters<typeof contractProblems>[0]]>([
    ['another status', { ...answering({ errors: [] }), status: 418 }],
    ['a success that is not described', { ...listed, url: 'http://localhost/v1/sys/nothing' }],
    ['a read where there is only a list', { ...listed, method: 'GET' }],
    ['a key too few', answering({ ...envelope, auth: undefined })],
    ['a key too many', answering({ ...envelope, extra: 1 })],
    ['a key of data too many', answering({ ...envelope, data: { keys: ['app'], extra: 1 } })],
    ['another type of data', answering({ ...envelope, data: null })],
    ['no JSON', { ...listed, responseBody: 'keys' }],
    ['no body', { ...listed, responseBody: '' }],
    ['a charset', { ...listed, headers: new Headers([...headers, ['content-type', 'charset=utf-8']]) }],
    ['a body after 204', { ...listed, method: 'DELETE', url: `${listed.url}/app`, status: 204 }],
    [
      'a request that should have been refused',
      {
        ...answering(''),
        method: 'POST',
        url: 'http://localhost/v1/sys/leases/revoke',
        requestBody: '{"sync":"maybe"}',
        status: 204,
        responseBody: '',
        headers: new Headers({ 'cache-control': 'no-store', date: new Date(0).toUTCString() }),
      },
    ],
  ])('fails on %s', (_, exchange) => {
    expect(contractProblems(exchange)).not.toEqual([])
  })
})
