import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { splitStatements, tokenize } from '../../src/engine/postgres/sql-lexer.ts'
import {
  checkStatements,
  grantsObjects,
  nameFitsSlots,
  parseStatements,
  render,
} from '../../src/engine/postgres/statements.ts'

const VERIFIER = 'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy'
const EXPIRATION = '2026-10-01 12:00:00+0000'

const split = (sql: string): string[] =>
  splitStatements(tokenize(sql)).map((statement) =>
    statement
      .map(({ text }) => text)
      .join('')
      .trim(),
  )

const rendered = (sql: string, name = 'v_app_1'): string[] =>
  parseStatements([sql]).map((statement) =>
    render(statement, { name, verifier: VERIFIER, expiration: EXPIRATION }),
  )

describe('splitting', () => {
  test.each([
    ['select 1; select 2', ['select 1', 'select 2']],
    [`select ';'; select 2`, [`select ';'`, 'select 2']],
    [`select 'it''s; one'; b`, [`select 'it''s; one'`, 'b']],
    [String.raw`select E'\'; still'; b`, [String.raw`select E'\'; still'`, 'b']],
    [String.raw`select 'plain\'; b`, [String.raw`select 'plain\'`, 'b']],
    [`select ";"; b`, [`select ";"`, 'b']],
    ['do $$ begin; end $$; b', ['do $$ begin; end $$', 'b']],
    ['do $x$ $$ ; $$ $x$; b', ['do $x$ $$ ; $$ $x$', 'b']],
    ['select a$b$c; b', ['select a$b$c', 'b']],
    ['select 1 -- no; end\n; b', ['select 1 -- no; end', 'b']],
    ['select 1 /* a; /* b; */ c; */; b', ['select 1 /* a; /* b; */ c; */', 'b']],
    ['; ;; -- nothing\n', []],
    [
      'create function f() returns int begin atomic select 1; select case when true then 1 end; end; b',
      ['create function f() returns int begin atomic select 1; select case when true then 1 end; end', 'b'],
    ],
    [
      'create or replace procedure p() begin atomic select 1; end; b',
      ['create or replace procedure p() begin atomic select 1; end', 'b'],
    ],
    [
      'SELECT begin atomic FROM (SELECT 1 AS begin) t; COMMIT; b',
      ['SELECT begin atomic FROM (SELECT 1 AS begin) t', 'COMMIT', 'b'],
    ],
    [
      'create function f(a int default (select begin atomic from t)) returns int; b',
      ['create function f(a int default (select begin atomic from t)) returns int', 'b'],
    ],
    ['create view function as select begin atomic; b', ['create view function as select begin atomic', 'b']],
  ])('%s', (sql, statements) => {
    expect(split(sql)).toEqual(statements)
  })

  test.each([
    `select 'open`,
    'select "open',
    'do $$ open',
    'do $x$ open $y$',
    'select 1 /* open /* */',
    `E'\\'`,
  ])('refuses what is not closed: %s', (sql) => {
    expect(() => tokenize(sql)).toThrow(/is not closed/)
  })

  test('gives every character back, whatever the text', () => {
    const piece = fc.constantFrom(
      `'`,
      `"`,
      '$',
      '$$',
      '$a$',
      '\\',
      '--',
      '\n',
      '/*',
      '*/',
      ';',
      'E',
      'U&',
      '{{name}}',
      ' ',
      'x',
    )
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const sql = pieces.join('')
        try {
          expect(
            tokenize(sql)
              .map(({ text }) => text)
              .join(''),
          ).toBe(sql)
        } catch (error) {
          expect((error as Error).name).toBe('SqlSyntaxError')
        }
      }),
    )
  })
})

describe('slots', () => {
  test('are filled as the dialect fills them', () => {
    expect(
      rendered(
        `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{username}}";`,
      ),
    ).toEqual([
      `CREATE ROLE "v_app_1" WITH LOGIN PASSWORD '${VERIFIER}' VALID UNTIL '${EXPIRATION}'`,
      ' GRANT SELECT ON ALL TABLES IN SCHEMA public TO "v_app_1"',
    ])
  })

  test('that stand bare are quoted', () => {
    expect(rendered('CREATE ROLE {{name}} PASSWORD {{ password }}', 'Mixed-Case')).toEqual([
      `CREATE ROLE "Mixed-Case" PASSWORD '${VERIFIER}'`,
    ])
  })

  test('in a comment are left alone', () => {
    expect(rendered('SELECT 1 -- {{nothing}}\n')).toEqual(['SELECT 1 -- {{nothing}}\n'])
  })

  test.each([
    [`SELECT '{{nothing}}'`, 'the slot {{nothing}} is not known'],
    ['SELECT {{expiry}}', 'the slot {{expiry}} is not known'],
    [`SELECT U&'{{name}}'`, 'cannot stand in a U&'],
    [`CREATE ROLE app_{{name}}`, 'must stand apart'],
    [`SELECT E{{password}}`, 'must stand apart'],
    [`SELECT {{name}}{{name}}`, 'must stand apart'],
  ])('are refused when the role is written: %s', (sql, problem) => {
    expect(() => checkStatements('creation_statements', [sql])).toThrow(problem)
  })

  const CONTEXTS = [
    `'{{name}}'`,
    `E'{{name}}'`,
    `"{{name}}"`,
    '{{name}}',
    '$$ {{name}} $$',
    `$a$ '{{name}}' $a$`,
    `DO $$ BEGIN EXECUTE 'DROP ROLE "{{name}}"'; END $$`,
    '-- {{name}}\n',
  ]
  /** What every token of a text is, with the text of those that cannot hold a value. */
  const shape = (sql: string): string[] =>
    tokenize(sql).map(({ kind, text }) => (['string', 'name', 'body', 'word'].includes(kind) ? kind : text))

  test('never let a value out, in any context', () => {
    const value = fc.oneof(
      fc.string({ unit: fc.constantFrom(`'`, '"', '$', '\\', '-', '*', '/', ';', '\n', 'a', '{', '}') }),
      fc.string(),
      fc.stringMatching(/^[a-z0-9_.@-]{1,40}$/),
    )
    fc.assert(
      fc.property(value, fc.constantFrom(...CONTEXTS), (name, context) => {
        const [statement] = parseStatements([`SELECT ${context} , 1`])
        if (!statement) return
        let text: string
        try {
          text = render(statement, { name })
        } catch {
          expect(nameFitsSlots(name)).toBe(false)
          return
        }
        expect(shape(text)).toEqual(shape(render(statement, { name: 'plain' })))
        expect(split(text)).toHaveLength(1)
      }),
      { numRuns: 1_000 },
    )
  })

  test.each([
    `a'b`,
    'a"b',
    'a\\b',
    'a$$b',
    'a;b',
    'a\nb',
    'a--b',
    'a*/b',
    '',
    'x'.repeat(64),
    '{{password}}',
    '-a',
    'a-',
  ])('refuse the name %j, in quotes or not', (name) => {
    for (const context of CONTEXTS.slice(0, -1)) {
      expect(() => rendered(`SELECT ${context}`, name)).toThrow('not allowed')
    }
  })

  test('refuse a password that is no verifier', () => {
    const [statement] = parseStatements([`SELECT '{{password}}'`])
    expect(() => render(statement ?? [], { name: 'a', verifier: 'plain text' })).toThrow('not allowed')
  })

  test('refuse to stay empty', () => {
    const [statement] = parseStatements([`SELECT '{{password}}'`])
    expect(() => render(statement ?? [], { name: 'a' })).toThrow('has no value')
  })
})

describe('what a role may not do to our session', () => {
  test.each([
    'BEGIN',
    'begin; select 1',
    'START TRANSACTION',
    'COMMIT',
    'END',
    'ROLLBACK',
    'ABORT',
    'SAVEPOINT a',
    'RELEASE a',
    `PREPARE TRANSACTION 'a'`,
    `COMMIT PREPARED 'a'`,
    'SET ROLE postgres',
    'SET LOCAL ROLE postgres',
    'set session authorization postgres',
    'SET SESSION AUTHORIZATION DEFAULT',
    `SET "role" = 'postgres'`,
    'SET /* why */ ROLE postgres',
    'SET TRANSACTION READ ONLY',
    'SET statement_timeout = 0',
    'SET LOCAL lock_timeout = 0',
    'SET standard_conforming_strings = off',
    'RESET ROLE',
    'RESET SESSION AUTHORIZATION',
    'RESET ALL',
    'DISCARD ALL',
  ])('%s', (sql) => {
    expect(() => checkStatements('creation_statements', [`SELECT 1; ${sql}`])).toThrow('not allowed')
  })

  test.each([
    'SET search_path = app',
    'SET LOCAL work_mem = 1',
    `DO $$ BEGIN PERFORM 1; END $$`,
    'PREPARE a AS SELECT 1',
    `SELECT 'COMMIT; SET ROLE x'`,
    `COMMENT ON ROLE "{{name}}" IS 'BEGIN'`,
  ])('but may: %s', (sql) => {
    expect(checkStatements('creation_statements', [sql])).toHaveLength(1)
  })
})

test.each([
  ['GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}"', true],
  ['grant usage on schema a to {{username}}', true],
  ['ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "{{name}}"', true],
  [`DO $$ BEGIN GRANT SELECT ON a TO "{{name}}"; END $$`, true],
  ['GRANT readers TO "{{name}}"', false],
  ['CREATE ROLE "{{name}}" IN ROLE readers', false],
  ['-- GRANT SELECT ON a TO "{{name}}"\nSELECT 1', false],
])('object grants to the account are noticed: %s', (sql, grants) => {
  expect(grantsObjects(parseStatements([sql]))).toBe(grants)
})
