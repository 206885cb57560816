import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Condition,
  ConditionError,
  compileCondition,
  prepareContext,
} from '../../src/policy/condition.ts'
import { type DecisionContext, decisionContext, type Known } from '../../src/policy/context.ts'

const NOW = new Date('2026-03-28T09:30:15.250Z')

const KNOWN: Known = {
  principal: {
    kind: 'workload',
    mount: 'auth/jwt/',
    subject: 'repo:acme/shop:ref:refs/heads/main',
    displayName: 'shop',
    claims: {
      team: 'blue',
      level: 3,
      ratio: 1.5,
      admin: true,
      gone: null,
      roles: ['reader', 7],
      nested: { constructor: 'z', 'kubernetes.io': { pod: 'p-1' } },
    },
    metadata: { owner: 'ann' },
    groups: ['dev', 'ops'],
  },
  role: {
    name: 'readonly',
    mount: 'database/',
    engine: 'postgres',
    target: 'shop',
    environment: 'dev',
    labels: { tier: 'low' },
    targetEnvironment: 'staging',
    targetLabels: { site: 'ams' },
    mountEnvironment: 'prod',
    mountLabels: { owner: 'dba' },
  },
  request: {
    operation: 'read',
    path: 'database/creds/readonly',
    time: NOW,
    zone: 'Europe/Berlin',
    sourceAddress: '10.1.2.3',
    namespace: 'ns1/',
    requestedTtlSeconds: 5_400,
    tls: true,
  },
  approval: {
    id: 'grant1',
    policy: 'emergency',
    lane: 'break_glass',
    reason: 'down',
    ticket: 'INC-1',
    approvers: ['bob', 'eve'],
    expiresAt: new Date('2026-03-28T10:00:00Z'),
  },
  leasesHeld: 2,
}

const CONTEXT = prepareContext(decisionContext(KNOWN))
const claiming = (claims: Record<string, unknown>) =>
  prepareContext(decisionContext({ ...KNOWN, principal: { ...KNOWN.principal, claims } }))

const holds = (text: string, context = CONTEXT) => compileCondition(text).holds(context)
const explained = (text: string, context = CONTEXT) => compileCondition(text).explain(context)

function refused(text: string): ConditionError {
  try {
    compileCondition(text)
  } catch (error) {
    expect(error).toBeInstanceOf(ConditionError)
    return error as ConditionError
  }
  throw new Error(`accepted: ${text}`)
}

describe('a condition sees', () => {
  test.each([
    'principal.kind == "workload"',
    'principal.mount == "auth/jwt/"',
    'principal.subject.endsWith(":refs/heads/main")',
    'principal.display_name == "shop"',
    'principal.claims.team == "blue" && principal.claims["team"] == "blue"',
    'principal.claims.level == 3 && principal.claims.level >= 2.5 && principal.claims.level in [1, 3]',
    'principal.claims.ratio == 1.5',
    'principal.claims.admin == true && type(principal.claims.admin) == bool',
    'principal.claims.gone == null && has(principal.claims.gone)',
    '"reader" in principal.claims.roles && 7 in principal.claims.roles && size(principal.claims.roles) == 2',
    'principal.claims.nested.constructor == "z"',
    'principal.claims.nested["kubernetes.io"].pod == "p-1"',
    '!has(principal.claims.missing) && !("missing" in principal.claims)',
    'principal.metadata.owner == "ann" && !has(principal.metadata.other)',
    '"ops" in principal.groups && principal.groups[0] == "dev"',
    'principal.groups.exists(g, g.startsWith("op")) && principal.groups.all(g, size(g) == 3)',
    'principal.groups.exists_one(g, g == "dev") && principal.groups.filter(g, g != "dev") == ["ops"]',
    'role.name == "readonly" && role.mount == "database/" && role.engine == "postgres"',
    'role.target == "shop" && role.environment == "dev" && role.labels.tier == "low"',
    'role.target_environment == "staging" && role.target_labels.site == "ams"',
    'role.mount_environment == "prod" && role.mount_labels["owner"] == "dba"',
    'request.operation in ["read", "update"]',
    'request.path == role.mount + "creds/" + role.name',
    'request.time > timestamp("2026-03-28T09:30:15Z") && request.time < timestamp("2026-03-28T10:30:16+01:00")',
    'request.zone == "Europe/Berlin" && request.namespace == "ns1/" && request.tls',
    'in_cidr(request.source_address, "10.0.0.0/8")',
    'request.requested_ttl == duration("1h30m") && request.requested_ttl <= duration("2h")',
    'approval.live && approval.id == "grant1" && approval.policy == "emergency"',
    'approval.reason == "down" && approval.ticket == "INC-1" && "bob" in approval.approvers',
    'approval.expires_at - request.time < duration("30m")',
    '"blue" in [role.name, principal.claims.team, "x"] && !(role.name in [principal.claims.level])',
    'leases.held < 3 && leases.held == 2',
    'principal.kind == "human" ? false : role.environment != "prod"',
  ])('%s', (text) => {
    expect(explained(text)).toMatchObject({ value: true })
    expect(holds(text)).toBe(true)
  })

  test('what is not known as empty, no grant as not live, and no lease count at all', () => {
    const { principal, request } = KNOWN
    const bare = prepareContext(
      decisionContext({
        principal: { kind: 'human', mount: principal.mount, subject: 's' },
        request: { operation: 'read', path: request.path, time: NOW, tls: false },
      }),
    )
    const texts = [
      'role.name == "" && role.environment == "" && role.labels == {} && role.target_labels.size() == 0',
      'principal.claims == {} && principal.groups == [] && principal.display_name == ""',
      '!approval.live && approval.id == "" && approval.approvers == [] && approval.expires_at < request.time',
      'request.zone == "UTC" && request.requested_ttl == duration("0s") && request.source_address == ""',
    ]
    for (const text of texts) expect(holds(text, bare), text).toBe(true)
    expect(explained('leases.held < 5', bare)).toMatchObject({ value: 'error' })
    expect(holds('leases.held < 5', bare)).toBe(false)
  })

  test('which variables it reads', () => {
    const { variables } = compileCondition('leases.held < 5 && principal.groups.exists(g, g == role.name)')
    expect([...variables].sort()).toEqual(['leases', 'principal', 'role'])
  })
})

describe('refused when it is written', () => {
  test.each([
    ['principal.kidn == "human"', 1, 11, 'principal has no field "kidn"; did you mean "kind"?'],
    ['request.tls &&\n  has(principal.kidn)', 2, 17, 'principal has no field "kidn"; did you mean "kind"?'],
    ['(request.tls ? role : role).nmae == ""', 1, 29, 'role has no field "nmae"; did you mean "name"?'],
    ['principal.constructor == ""', 1, 11, 'principal has no field "constructor"'],
    ['has(principal.constructor.name)', 1, 15, 'principal has no field "constructor"'],
    ['role.name.length == 3', 1, 11, 'a string has no field "length"'],
    ['has(role.labels.a.b)', 1, 19, 'a string has no field "b"'],
    ['principal["kind"] == ""', 1, 1, 'the fields of principal are read with a dot, as in principal.kind'],
    ['principle.kind == ""', 1, 1, 'there is no variable "principle"'],
    ['true && rloe.name == ""', 1, 9, 'there is no variable "rloe"; did you mean "role"?'],
    ['google.protobuf == 1', 1, 1, 'there is no variable "google"'],
    ['principal.kind == 3', 1, 1, '== does not work between string and int'],
    ['true &&\n\n role.name + 1 == ""', 3, 2, '+ does not work between string and int'],
    ['!role.name', 1, 1, '! does not work on a string'],
    ['request.time > "2026-01-01"', 1, 1, '> does not work between timestamp and string'],
    ['role.name in principal', 1, 1, 'in does not work between string and principal'],
    ['role.name.startsWith(3)', 1, 11, 'startsWith of a string does not take (int)'],
    ['role.name.contains(3)', 1, 11, 'contains of a string does not take (int)'],
    ['in_cidr(request.tls, "10.0.0.0/8")', 1, 1, 'in_cidr does not take (bool, string)'],
    ['request.time.getHours(3) == 3', 1, 14, 'getHours of a timestamp does not take (int)'],
    ['role.name.startsWiht("a")', 1, 11, 'there is no function "startsWiht"; did you mean "startsWith"?'],
    ['role.name', 1, 1, 'a condition must be true or false, and this is a string'],
    ['request.time', 1, 1, 'a condition must be true or false, and this is a timestamp'],
    ['true && true && (role.name)', 1, 18, '&& joins what is true or false, and this is a string'],
    ['role.name || true', 1, 1, '|| joins what is true or false, and this is a string'],
    ['role.name ? true : false', 1, 1, "ternary condition must be bool, got 'string'"],
    ['true ? 1 : "a"', 1, 1, "ternary branches must have the same type, got 'int' and 'string'"],
    ['role.name.exists(x, true)', 1, 1, 'only a list or a map has entries, and this is a string'],
    ['principal.groups.exists(1, true)', 1, 25, 'a name is needed here, as in exists(x, …)'],
    ['principal.groups.all(role, true)', 1, 18, 'all needs a name of its own, and role is taken'],
    ['has(principal)', 1, 5, 'has needs a field, as in has(principal.claims.team)'],
    ['principal.groups.map(g, g) == []', 1, 18, 'there is no function "map": use exists, all or filter,'],
    ['principal.subject.matches("a*")', 1, 19, 'there is no function "matches": a regular expression can'],
    ['cel.bind(a, true, a)', 1, 5, 'there is no function "bind"'],
    ['leasehold_contains("a", "b")', 1, 1, 'there is no function "leasehold_contains"'],
    ['leasehold_evaluator(0)', 1, 1, 'there is no function "leasehold_evaluator"'],
    ['in_cidr(request.source_address, "10.0.0.0/33")', 1, 33, '"10.0.0.0/33" is no block of addresses'],
    ['in_cidr("10.0.0", "10.0.0.0/8")', 1, 9, '"10.0.0" is no address'],
    ['request.time.getHours("Europe/Berln") == 1', 1, 23, '"Europe/Berln" is no time zone such as'],
    ['timestamp("2026-02-30T00:00:00Z") < request.time', 1, 11, '"2026-02-30T00:00:00Z" is no time such'],
    ['timestamp("2026-02-03 00:00:00") < request.time', 1, 11, 'is no time such as'],
    ['request.requested_ttl < duration("1 hour")', 1, 34, '"1 hour" is no duration such as 1h30m'],
    ['9223372036854775809 == 1', 1, 1, 'the number is out of range'],
    ['', 1, 1, 'the condition is empty'],
    [' \n ', 1, 1, 'the condition is empty'],
    ['role.name ==', 1, 13, 'the end is not expected here'],
    ['(true', 1, 6, '")" is missing before the end'],
    ['true\n  false', 2, 3, '"false" is not expected here'],
    ['true & true', 1, 6, '"&" is not expected here'],
    ['"🦊" == role.name && 🦊', 1, 22, '"🦊" is not expected here'],
    ['role.name == "abc', 1, 14, 'unterminated string'],
  ])('%j', (text, line, column, message) => {
    const error = refused(text)
    expect(error).toMatchObject({ name: 'ConditionError', line, column })
    expect(error.message).toContain(message)
  })

  test('when only the value of a claim would tell whether it is true or false', () => {
    expect(refused('principal.claims.admin').message).toContain('compare it')
    expect(holds('principal.claims.admin == true')).toBe(true)
  })
})

test('a condition answers the same each time it is asked', () => {
  const condition = compileCondition(
    'principal.groups.filter(g, g in ["dev", principal.claims.team]).size() == 1',
  )
  const other = prepareContext(
    decisionContext({ ...KNOWN, principal: { ...KNOWN.principal, groups: ['x'] } }),
  )
  for (let round = 0; round < 3; round++) {
    expect(condition.holds(CONTEXT)).toBe(true)
    expect(condition.holds(claiming({}))).toBe(false)
    expect(condition.holds(other)).toBe(false)
  }
})

describe('an error counts as false', () => {
  test.each([
    ['principal.claims.missing == "x"', 'there is no "missing"'],
    ['principal.claims.missing != "x"', 'there is no "missing"'],
    ['!(principal.claims.missing == "x")', 'there is no "missing"'],
    ['principal.claims[principal.claims.team] == 1', 'a key is missing'],
    ['role.labels.missing == ""', 'there is no "missing"'],
    ['principal.claims.team < 3', '< does not work between string and int'],
    ['principal.claims.level.startsWith("3")', 'startsWith of a int does not take (string)'],
    ['principal.claims.team && true', 'it is neither true nor false'],
    ['principal.claims.team ? true : true', "ternary condition must be bool, got 'string'"],
    ['principal.claims.team.exists(x, true)', 'it could not be evaluated'],
    ['principal.claims.roles[5] == 1', 'a list is shorter than that'],
    [
      'in_cidr(principal.claims.team, "10.0.0.0/8")',
      'in_cidr was given no address, or no block of addresses',
    ],
    ['in_cidr(request.source_address, principal.claims.team)', 'in_cidr was given no address, or no block'],
    ['request.time.getHours(principal.claims.team) == 1', 'a time zone is not known to this server'],
    ['timestamp(principal.claims.team) < request.time', 'a time is not RFC 3339'],
    ['duration(principal.claims.team) < duration("1h")', 'a duration cannot be read'],
    ['int(principal.claims.team) < 5', 'a value is no whole number of 64 bits'],
    ['int("") < 5', 'a value is no whole number of 64 bits'],
    ['1 / (leases.held - 2) == 1', 'it divides by zero'],
    ['9223372036854775807 + leases.held > 0', 'a number is out of range'],
  ])('%s', (text, error) => {
    expect(holds(text)).toBe(false)
    const explanation = explained(text)
    expect(explanation.value).toBe('error')
    expect(explanation.error).toContain(error)
  })

  test('but a part that settles the matter outweighs it, on either side', () => {
    const broken = 'principal.claims.missing == 1'
    expect(holds(`${broken} || true`) && holds(`true || ${broken}`)).toBe(true)
    expect(explained(`${broken} && false`).value).toBe(false)
    expect(explained(`false && ${broken}`).value).toBe(false)
  })

  test('and its message holds nothing of the claims', () => {
    const context = claiming({ a: 'SECRET-1', b: { 'SECRET-2': 'SECRET-3' }, c: ['SECRET-4'], d: 424242 })
    const texts = [
      'int(principal.claims.a) == 1',
      'double(principal.claims.a) == 1.0',
      'bool(principal.claims.a)',
      'duration(principal.claims.a) == duration("1s")',
      'timestamp(principal.claims.a) == request.time',
      'request.time.getHours(principal.claims.a) == 1',
      'in_cidr(principal.claims.a, "::/0")',
      'principal.claims.b[principal.claims.a] == 1',
      'principal.claims.c[principal.claims.d] == 1',
      'principal.claims.d * 9223372036854775807 == 1',
      'principal.claims.c < 1',
      'principal.claims.b.exists(k, k + 1 == 2)',
      'principal.claims[principal.claims.c[0]].x == 1',
    ]
    for (const text of texts) {
      const explanation = explained(text, context)
      expect(explanation.value, text).toBe('error')
      expect(JSON.stringify(explanation)).not.toMatch(/SECRET|4242/)
    }
  })
})

describe('explain', () => {
  test('tells each part with its text and place', () => {
    const text = [
      'role.environment == "dev" &&',
      '  (principal.kind == "human" || // not ) a robot',
      '   principal.claims.missing == "&&") &&',
      '  !(request.tls)',
    ].join('\n')
    expect(explained(text)).toEqual({
      ...{ text, line: 1, column: 1, value: false, join: '&&' },
      parts: [
        { text: 'role.environment == "dev"', line: 1, column: 1, value: true },
        {
          text: 'principal.kind == "human" || // not ) a robot\n   principal.claims.missing == "&&"',
          ...{ line: 2, column: 4, value: 'error', error: 'there is no "missing"', join: '||' },
          parts: [
            { text: 'principal.kind == "human"', line: 2, column: 4, value: false },
            {
              text: 'principal.claims.missing == "&&"',
              ...{ line: 3, column: 4, value: 'error', error: 'there is no "missing"' },
            },
          ],
        },
        { text: '!(request.tls)', line: 4, column: 3, value: false },
      ],
    })
  })

  test.each(['(role).name == ("readonly")', '(1 + 1) * 2 == (4)', '( role ).labels["("] == (("x"))'])(
    'keeps brackets together: %s',
    (text) => expect(explained(`((${text}) && true)`).parts?.[0]).toMatchObject({ text, line: 1, column: 3 }),
  )

  type Tree = { text: string; value: boolean | 'error' }
  const broken: Tree = { text: 'principal.claims.missing == 1', value: 'error' }
  const odd: Tree = { text: 'principal.claims.team', value: 'error' }
  const leaf = fc.constantFrom<Tree>(
    { text: 'true', value: true },
    { text: '(false)', value: false },
    { text: 'role.name == (")")', value: false },
    { text: '(role).name == "readonly"', value: true },
    { text: 'principal.groups.exists(g, g == "dev" && (true))', value: true },
    broken,
    odd,
  )
  const join = (sign: '&&' | '||', [left, right]: [Tree, Tree]): Tree => {
    const settling = sign === '||'
    const values = [left.value, right.value]
    const rest = values.includes('error') ? 'error' : !settling
    return {
      text: `(${left.text}) ${sign}\n (${right.text})`,
      value: values.includes(settling) ? settling : rest,
    }
  }
  const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      leaf,
      fc.tuple(tie('tree'), tie('tree')).map((sides) => join('&&', sides)),
      fc.tuple(tie('tree'), tie('tree')).map((sides) => join('||', sides)),
      tie('tree').map(({ text, value }) => ({
        text: `!(${text})`,
        value: value === 'error' ? value : !value,
      })),
    ),
  }))

  /** Undefined for a claim alone, too many brackets, or too long a text: refused, which the other tests look at. */
  const compiled = (text: string): Condition | undefined => {
    try {
      return compileCondition(text)
    } catch (error) {
      expect(error).toBeInstanceOf(ConditionError)
      return undefined
    }
  }
  const isOdd = ({ text }: { text: string }) => text === odd.text || text === `(${odd.text})`

  test('agrees with holds and with the logic of three values', () => {
    const check = ({ text, value }: Tree) => {
      const condition = compiled(text)
      if (!condition) return
      const explanation = condition.explain(CONTEXT)
      expect(explanation.value).toBe(value)
      expect(condition.holds(CONTEXT)).toBe(value === true)
      expect(condition.parts.every((part) => part.holds(CONTEXT))).toBe(value === true)
      for (const part of condition.parts.filter((each) => !isOdd(each))) {
        // Parts of one text share their answer, so the text has to say all.
        expect(compileCondition(part.text).holds(CONTEXT)).toBe(part.holds(CONTEXT))
      }
      for (const part of (explanation.parts ?? []).filter((each) => !isOdd(each))) compileCondition(part.text)
    }
    fc.assert(fc.property(tree, check), { numRuns: 300 })
  })
})

test('a context that is prepared is not asked for what no condition reads', () => {
  const touchy = {
    ...decisionContext(KNOWN),
    get leases(): DecisionContext['leases'] {
      return {
        get held(): number {
          throw new Error('counted')
        },
      }
    },
  }
  const context = prepareContext(touchy)
  expect(holds('role.name == "readonly"', context)).toBe(true)
  expect(holds('leases.held < 5', context)).toBe(false)
})
