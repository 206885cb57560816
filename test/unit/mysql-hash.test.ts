import { describe, expect, test } from 'vitest'
import { cachingSha2Hash, hashFor, nativeHash, sha256Crypt } from '../../src/engine/mysql/hash.ts'

describe('caching_sha2_password', () => {
  test('is the SHA-256 scheme of crypt(3), as its own test vector and OpenSSL have it', () => {
    expect(sha256Crypt('Hello world!', Buffer.from('saltstring'), 5_000)).toBe(
      '5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5',
    )
    expect(sha256Crypt('Hello', Buffer.from('abcdefghijklmnop'), 5_000)).toBe(
      'AgMbwBGcy/j4ZnTvKhGq1srr5A3aqOtNPznBZRwTC4C',
    )
  })

  test('takes a salt of 20 bytes whole, as a hash that a MySQL server made shows', () => {
    const salt = Buffer.from('F9CC98CE08892924F50A213B6BC571A2C11778C5', 'hex')
    const made = Buffer.from(
      '625479393559393965414D45316477456B484F41316E64484742577A2E3162785353526B7554584647562F',
      'hex',
    )
    expect(sha256Crypt('hashcat', salt, 5_000)).toBe(made.toString())
  })

  test('is written with its rounds, a fresh printable salt and no character that quotes', async () => {
    const made = await hashFor('caching_sha2_password', 'secret')
    expect(made).toMatch(/^\$A\$005\$[./0-9A-Za-z]{20}[./0-9A-Za-z]{43}$/)
    expect(cachingSha2Hash('secret')).not.toBe(made)
  })
})

test('mysql_native_password is SHA-1 twice, in capitals behind an asterisk', async () => {
  expect(nativeHash('password')).toBe('*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19')
  expect(await hashFor('mysql_native_password', 'password')).toBe(nativeHash('password'))
})
