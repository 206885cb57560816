import fc from 'fast-check'
import { expect, test } from 'vitest'
import { accountName } from '../../src/engine/postgres/name.ts'
import { nameFitsSlots } from '../../src/engine/postgres/statements.ts'
import { compileNameTemplate } from '../../src/engine/username-template.ts'

const NOW = new Date('2026-02-03T04:05:06.789Z')
const INPUTS = { DisplayName: 'Token-Alice', RoleName: 'app', LeaseID: 'z'.repeat(24) }
const made = (template: string) => compileNameTemplate(template)(INPUTS, NOW)

test.each([
  ['plain', 'plain'],
  ['{{.RoleName}}', 'app'],
  ['v-{{ .DisplayName | truncate 5 }}-{{.RoleName}}', 'v-Token-app'],
  ['{{ .RoleName | uppercase }}', 'APP'],
  ['{{ lowercase .DisplayName }}', 'token-alice'],
  ['{{ .DisplayName | replace "-" "_" }}', 'Token_Alice'],
  ['{{ .DisplayName | replace `-` `$&` }}', 'Token$&Alice'],
  ['{{ .RoleName | hex }}', '617070'],
  ['{{ .RoleName | hex | decode_hex }}', 'app'],
  ['{{ .RoleName | base64 }}', 'YXBw'],
  ['{{ "YXBw" | decode_base64 }}', 'app'],
  ['{{ .RoleName | sha256 | truncate 8 }}', 'a172cedc'],
  ['{{ .DisplayName | truncate_sha256 10 }}', `To${'_'.repeat(8)}`],
  ['{{ unix_time }}', '1770091506'],
  ['{{ unix_time_millis }}', '1770091506789'],
  ['{{ timestamp "2006-01-02T15:04:05Z" }}', '2026-02-03T04:05:06Z'],
  ['{{ timestamp "Jan 2, 06 03PM" }}', 'Feb 3, 26 04AM'],
  [
    '{{ printf "v-%s-%s-%d" (.DisplayName | truncate 8) (.RoleName | truncate 8) (unix_time) | truncate 63 }}',
    'v-Token-Al-app-1770091506',
  ],
  ['a {{- /* a note */ -}} b', 'ab'],
  ['a {{- .RoleName -}} b', 'aappb'],
  ['{{ "a}}b" }}', 'a}}b'],
  ['{{ .LeaseID }}', 'z'.repeat(24)],
])('%s', (template, name) => {
  if (template.includes('truncate_sha256')) expect(made(template)).toMatch(/^To[0-9a-f]{8}$/)
  else expect(made(template)).toBe(name)
})

test('random parts are random', () => {
  const random = compileNameTemplate('{{ random 20 }}-{{ uuid }}')
  expect(random(INPUTS, NOW)).toMatch(/^[0-9A-Za-z]{20}-[0-9a-f-]{36}$/)
  expect(random(INPUTS, NOW)).not.toBe(random(INPUTS, NOW))
})

test.each([
  '{{',
  '{{ .RoleName',
  '{{ }}',
  '{{ .Nothing }}',
  '{{ .RoleName.More }}',
  '{{ nothing }}',
  '{{ constructor }}',
  '{{ .RoleName | }}',
  '{{ .RoleName | "text" }}',
  '{{ truncate }}',
  '{{ truncate "x" .RoleName }}',
  '{{ truncate 0 .RoleName }}',
  '{{ random 99999 }}',
  '{{ (.RoleName }}',
  '{{ .RoleName ) }}',
  '{{ if .RoleName }}a{{ end }}',
  '{{ $x := 1 }}',
  '{{ printf "%s" }}',
  '{{ printf "%z" .RoleName }}',
  '{{ "bad \\q" }}',
])('invalid: %s', (template) => {
  expect(() => compileNameTemplate(template)).toThrow('invalid username template')
})

const ID = '0123456789abcdefghjkmnpq'
const named = (ask: { template?: string; roleName?: string; displayName?: string }) =>
  accountName(
    {
      template: ask.template === undefined ? undefined : compileNameTemplate(ask.template),
      roleName: ask.roleName ?? 'app',
      displayName: ask.displayName ?? 'token',
      leaseId: ID,
    },
    NOW,
  )

test.each([
  [{}, `v_app_${ID}`],
  [{ roleName: 'My-Role.2' }, `v_my_role_2_${ID}`],
  [{ roleName: 'a-role-with-a-very-long-name' }, `v_a_role_with_a_very_l_${ID}`],
  [{ template: '{{.DisplayName}}' }, `token_${ID}`],
  [{ template: '{{.DisplayName}}', displayName: `o'brien"; --` }, `o_brien___-_${ID}`],
  [{ template: '{{.LeaseID}}-{{.RoleName}}' }, `${ID}-app`],
  [{ template: '{{.DisplayName}}', displayName: 'x'.repeat(200) }, `${'x'.repeat(38)}_${ID}`],
  [{ template: '{{.DisplayName}}{{.LeaseID}}', displayName: 'x'.repeat(60) }, `${'x'.repeat(38)}_${ID}`],
  [{ template: '{{.DisplayName}}', displayName: 'pg_monitor' }, `v_pg_monitor_${ID}`],
  [{ template: '' }, `v_${ID}`],
])('the account of %j', (ask, name) => {
  if (name.includes('o_brien')) expect(named(ask)).toMatch(new RegExp(`^o_brien[_-]*_${ID}$`))
  else expect(named(ask)).toBe(name)
})

test('every name holds the lease id, fits, and may stand in any slot', () => {
  const template = fc.constantFrom(
    undefined,
    '{{.DisplayName}}',
    '{{.RoleName}}-{{.DisplayName}}',
    '-{{.LeaseID}}-',
  )
  fc.assert(
    fc.property(template, fc.string(), fc.string(), (text, roleName, displayName) => {
      const name = named({ ...(text === undefined ? {} : { template: text }), roleName, displayName })
      expect(name).toContain(ID)
      expect(nameFitsSlots(name)).toBe(true)
    }),
  )
})
