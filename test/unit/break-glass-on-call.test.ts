import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isAging, isRecent, onCallWord } from '../../src/breakglass/on-call-evidence.ts'

const RITA = { subject: 'rita', mount: 'auth/oidc/' }
const AS_OF = '2026-11-23T02:41:07Z'
const YES = { valid: true, open: true, responders: ['rita'], as_of: AS_OF }

/** Now and then what is right, or all but right. */
const part = (...near: unknown[]) => fc.oneof(fc.constantFrom(...near), fc.jsonValue())
const answers = fc.record(
  {
    open: part(true, true, 'true', 1, false),
    responders: part(['rita'], [RITA], [{ subject: 'rita' }], ['bob'], 'rita', [['rita']], [null, 'rita']),
    as_of: part(AS_OF, '2026-11-23T03:41:07+01:00', '2026-11-23', 0, '2026-02-30T00:00:00Z'),
  },
  { requiredKeys: [] },
)

describe('the word of the incident system', () => {
  test('is for a requester only where all of it says so, and nothing that is said throws', () => {
    let yeses = 0
    fc.assert(
      fc.property(answers, (answer) => {
        const word = onCallWord(answer, RITA)
        if (!word?.vouches) return
        yeses += 1
        expect(answer.open).toBe(true)
        const named = [answer.responders].flat().map((one) => (one as { subject?: string })?.subject ?? one)
        expect(named).toContain('rita')
        expect(word.asOf.toISOString()).toBe('2026-11-23T02:41:07.000Z')
      }),
      { numRuns: 3_000, examples: [[YES]] },
    )
    expect(yeses).toBeGreaterThan(1)
    fc.assert(
      fc.property(fc.jsonValue(), (answer) => {
        expect(onCallWord(answer, RITA)?.vouches ?? false).toBe(false)
      }),
    )
  })

  test.each([
    ['no subject', { subject: '', mount: 'auth/oidc/' }, ['']],
    ['a subject with the sign that names a mount', { subject: 'oidc#rita', mount: 'auth/evil/' }, [RITA]],
    ['an empty mount', RITA, [{ subject: 'rita', mount: '' }]],
  ])('is for nobody with %s', (_, requester, responders) => {
    expect(onCallWord({ ...YES, responders }, requester)).toMatchObject({ vouches: false })
  })
})

describe('evidence', () => {
  const at = (seconds: number) => new Date(Date.parse(AS_OF) + seconds * 1_000)
  const evidence = (asOf: number, checked: number) => ({
    ...{ ticket: 'INC-1', responder: RITA },
    as_of: at(asOf).toISOString(),
    checked_at: at(checked).toISOString(),
  })

  test.each([
    [0, 0, 300, true],
    [0, 0, 301, false],
    [0, 200, 300, true],
    [0, 200, 301, false],
    [60, 0, 300, true],
    [60, 0, 301, false],
    [61, 0, 100, false],
  ])('of %i, asked for at %i, counts at %i: %s', (asOf, checked, now, counts) => {
    expect(isRecent(evidence(asOf, checked), at(now))).toBe(counts)
  })

  test('that cannot be read does not count, and is asked for again', () => {
    const broken = { ...evidence(0, 0), as_of: 'never' }
    expect([isRecent(broken, at(0)), isAging(broken, at(0))]).toEqual([false, true])
    expect([isAging(evidence(0, 0), at(119)), isAging(evidence(0, 0), at(120))]).toEqual([false, true])
  })
})
