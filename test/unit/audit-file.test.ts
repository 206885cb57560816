import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { writeAuditFile } from '../../src/audit/file-format.ts'
import { splitLines } from '../../src/audit/lines.ts'
import { type VerifyReport, verifyFile } from '../../src/audit/verify.ts'
import { each, FORGED, keys, sample } from './audit-log-book.ts'

/** The sample's file: 1 format, 2-4 checkpoints, 5-23 events, 24 end. */
async function exported(): Promise<string> {
  const { checkpoints, events } = await sample()
  let text = ''
  for await (const line of writeAuditFile(each(checkpoints), each(events))) text += line
  return text
}

const verify = (bytes: Uint8Array, pieceBytes = bytes.length): Promise<VerifyReport> => {
  const pieces = []
  for (let from = 0; from < bytes.length; from += pieceBytes)
    pieces.push(bytes.subarray(from, from + pieceBytes))
  return verifyFile(each(pieces), { keys })
}

/** What is wrong, as `kind line`, or `kind writer/seq`. */
async function wrong(text: string): Promise<string[]> {
  const { problems } = await verify(Buffer.from(text))
  return problems.map(({ kind, line, writer, seq }) => `${kind} ${writer ? `${writer}/${seq}` : line}`)
}

const withLines = (text: string, change: (lines: string[]) => string[]): string =>
  `${change(text.trimEnd().split('\n')).join('\n')}\n`

describe('an exported file', () => {
  test('starts with its format, then checkpoints, then events, and ends with its counts', async () => {
    const lines = (await exported()).split('\n')
    expect(lines[0]).toBe('{"leasehold_audit":1}')
    expect(lines[1]).toMatch(/^\{"checkpoint":\{"jws":"ey[^"]+","number":1\}\}$/)
    expect(lines[4]).toMatch(
      /^\{"event":\{"at":"[^"]+","body":"\{.*\}","hash":"[0-9a-f]{64}","seq":1,"writer":"a"\}\}$/,
    )
    expect(lines[23]).toBe('{"end":{"checkpoints":3,"events":19}}')
    expect(lines.slice(24)).toEqual([''])
  })

  test('verifies like the ledger it came from, however it arrives', async () => {
    const bytes = Buffer.from(await exported())
    for (const pieceBytes of [1, 7, 1000, bytes.length]) {
      expect(await verify(bytes, pieceBytes)).toMatchObject({
        events: 19,
        writers: 3,
        checkpoints: 3,
        uncheckpointed: 1,
        problems: [],
        problemsTotal: 0,
      })
    }
  })

  test('of an empty log is sound; no bytes at all are no log', async () => {
    let text = ''
    for await (const line of writeAuditFile(each([]), each([]))) text += line
    expect(await wrong(text)).toEqual([])
    expect(await wrong('')).toEqual(['truncated undefined'])
  })

  test('a last line that is cut off is named', async () => {
    const text = await exported()
    expect(await wrong(text.slice(0, -1))).toEqual(['truncated 24'])
    expect(await wrong(text.slice(0, -60))).toEqual(['truncated 23'])
  })

  test('a file that ends early at the end of a line is named too', async () => {
    const text = await exported()
    expect(await wrong(withLines(text, (lines) => lines.slice(0, -1)))).toEqual(['truncated undefined'])
    expect(await wrong(withLines(text, (lines) => lines.slice(0, -2)))).toEqual(['truncated undefined'])
    expect(await wrong(withLines(text, (lines) => lines.toSpliced(22, 1)))).toEqual(['malformed 23'])
  })

  test('an edited line is found as the event it is', async () => {
    const text = await exported()
    const forged = JSON.stringify(FORGED)
    const changed = withLines(text, (lines) =>
      lines.map((line, i) =>
        i === 10 ? line.replace(/"body":"(?:[^"\\]|\\.)*"/, () => `"body":${forged}`) : line,
      ),
    )
    expect(await wrong(changed)).toEqual(['edited a/3'])
  })

  test.each([
    ['is no JSON', 'x'],
    ['is empty', ''],
    ['is of no known kind', '{"note":1}'],
    ['is of two kinds', '{"end":{"checkpoints":3,"events":19},"event":{}}'],
    ['lacks a member', '{"event":{"at":"","body":"","hash":"","seq":1}}'],
    ['has a member of another type', '{"event":{"at":"","body":"","hash":"","seq":"1","writer":"a"}}'],
    ['is a format once more', '{"leasehold_audit":1}'],
    ['has a kind every object has', '{"constructor":{}}'],
    ['is null', 'null'],
  ])('a line that %s is named', async (_what, line) => {
    expect(await wrong(withLines(await exported(), (lines) => lines.toSpliced(4, 0, line)))).toEqual([
      'malformed 5',
    ])
  })

  test('what a reader of JSON would not see is named', async () => {
    const text = await exported()
    for (const change of [
      (line: string) => `${line} `,
      (line: string) => line.replace('{"event":{', '{"event":{"writer":"z",'),
      (line: string) => line.replace('"writer":"c"', '"writer":"\\u0063"'),
      (line: string) => line.replace('"writer":"c"', '"writer":"c","x":1'),
      (line: string) => line.replace('"seq":6', '"seq":6.0'),
    ]) {
      // Line 22 is the sixth event of c.
      const changed = withLines(text, (lines) => lines.map((line, i) => (i === 21 ? change(line) : line)))
      expect(changed).not.toBe(text)
      expect(await wrong(changed)).toEqual(['malformed 22', 'malformed 24', 'missing c/6'])
    }
  })

  test('lines in the wrong part are named', async () => {
    const text = await exported()
    const late = withLines(text, (lines) => lines.toSpliced(5, 0, ...lines.splice(3, 1)))
    expect(await wrong(late)).toContain('malformed 6')
    const behind = withLines(text, (lines) => [...lines, lines[22] as string])
    expect(await wrong(behind)).toEqual(['malformed 25'])
    expect((await wrong(withLines(text, (lines) => lines.slice(1))))[0]).toBe('malformed 1')
  })

  test('bytes that are no UTF-8, and lines that never end, are named', async () => {
    const bytes = Buffer.from(await exported())
    const at = bytes.indexOf('"writer":"b"') + 10
    bytes[at] = 0xff
    expect((await verify(bytes)).problems[0]).toMatchObject({ kind: 'malformed', line: 6 })
    const long = Buffer.concat([
      Buffer.from('{"leasehold_audit":1}\n'),
      Buffer.alloc(17 * 1024 * 1024, 'x'),
      Buffer.from('\n'),
    ])
    expect((await verify(long, 1024 * 1024)).problems[0]).toMatchObject({ kind: 'malformed', line: 2 })
  })

  test('any file with one byte changed or cut short has a problem', async () => {
    const bytes = Buffer.from(await exported())
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (index, by) => {
        const changed = Buffer.from(bytes)
        changed[index] = ((changed[index] ?? 0) + by) % 256
        expect((await verify(changed)).problemsTotal).toBeGreaterThan(0)
        expect((await verify(bytes.subarray(0, index))).problemsTotal).toBeGreaterThan(0)
      }),
      { numRuns: 100 },
    )
  })
})

test('lines are the same however their bytes arrive', async () => {
  const text = fc.stringMatching(/^[a\u00e9\n\r\u{1f511}]*$/u)
  await fc.assert(
    fc.asyncProperty(text, fc.integer({ min: 1, max: 5 }), async (given, pieceBytes) => {
      const bytes = Buffer.from(given)
      const pieces = []
      for (let from = 0; from < bytes.length; from += pieceBytes)
        pieces.push(bytes.subarray(from, from + pieceBytes))
      const lines = []
      for await (const { line, text: read, ended } of splitLines(each(pieces))) {
        expect(line).toBe(lines.length + 1)
        lines.push(ended ? `${read}\n` : read)
      }
      expect(lines.join('')).toBe(given)
    }),
  )
})
