import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { redirectAllowed } from '../../src/identity/oidc/redirect.ts'

const CONSOLE = 'https://broker.example/ui/oidc/callback?mount=oidc'

describe('an address to come back to', () => {
  test.each([
    [CONSOLE, CONSOLE],
    ['http://localhost:8250/oidc/callback', 'http://localhost:8250/oidc/callback'],
    ['http://localhost:8250/oidc/callback', 'http://localhost:9999/oidc/callback'],
    ['http://localhost/oidc/callback', 'http://localhost:65535/oidc/callback'],
    ['http://localhost:8250', 'http://localhost:1'],
    ['http://127.0.0.1:8250/x?y=1', 'http://127.0.0.1:1/x?y=1'],
    ['http://[::1]:8250/x', 'http://[::1]/x'],
    ['app.example:/callback', 'app.example:/callback'],
  ])('%s allows %s', (allowed, asked) => {
    expect(redirectAllowed(asked, ['https://other.example', allowed])).toBe(true)
  })

  test.each([
    [CONSOLE, `${CONSOLE}&x=1`],
    [CONSOLE, 'https://broker.example/ui/oidc/callback'],
    [CONSOLE, 'https://broker.example:443/ui/oidc/callback?mount=oidc'],
    [CONSOLE, 'https://BROKER.example/ui/oidc/callback?mount=oidc'],
    [CONSOLE, CONSOLE.replace('https', 'http')],
    [CONSOLE, `${CONSOLE}#x`],
    ['https://*.example/x', 'https://a.example/x'],
    ['http://localhost:8250/x', 'http://localhost:8250/y'],
    ['http://localhost:8250/x', 'http://localhost:8250/x/'],
    ['http://localhost:8250/x', 'https://localhost:8250/x'],
    ['http://localhost:8250/x', 'http://127.0.0.1:8250/x'],
    ['http://localhost:8250/x', 'http://localhost:65536/x'],
    ['http://localhost:8250/x', 'http://localhost:8250@evil.example/x'],
    ['http://localhost:8250/x', 'http://me@localhost:8250/x'],
    ['http://localhost:8250/x', 'http://localhost.evil.example:8250/x'],
    ['http://localhost:8250/x', 'http://localhost:8250\n/x'],
    ['https://localhost:8250/x', 'https://localhost:1/x'],
    ['http://10.0.0.1:8250/x', 'http://10.0.0.1:1/x'],
    ['not an address', 'not an address'],
    ['', ''],
  ])('%s does not allow %s', (allowed, asked) => {
    expect(redirectAllowed(asked, [allowed])).toBe(false)
  })

  test('is allowed by nothing else than itself, whatever is put into or around it', () => {
    const part = fc.constantFrom(
      'http://',
      'https://',
      'localhost',
      '127.0.0.1',
      ':8250',
      ':1',
      '/x',
      '@',
      '#',
      '?',
      '.',
      'a',
    )
    const text = fc.array(part, { maxLength: 7 }).map((parts) => parts.join(''))
    fc.assert(
      fc.property(text, text, (asked, allowed) => {
        if (asked === allowed || !redirectAllowed(asked, [allowed])) return
        const [one, other] = [new URL(asked), new URL(allowed)]
        expect(['localhost', '127.0.0.1']).toContain(one.hostname)
        expect([one.protocol, one.username, one.hash]).toEqual(['http:', other.username, other.hash])
        one.port = other.port
        expect(one.href).toBe(other.href)
      }),
      { numRuns: 2_000 },
    )
  })
})
