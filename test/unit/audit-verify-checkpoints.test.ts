import { describe, expect, test } from 'vitest'
import { checkpointHash, type StoredCheckpoint } from '../../src/audit/checkpoint.ts'
import {
  at,
  type Log,
  logBook,
  sample,
  sign,
  signAsStranger,
  signUnderOurName,
  swapped,
  wrong,
} from './audit-log-book.ts'

describe('tampering with checkpoints is found and named', () => {
  const changed = (log: Log, number: number, jws: string): Log => ({
    ...log,
    checkpoints: log.checkpoints.map((checkpoint) =>
      checkpoint.number === number ? { number, jws } : checkpoint,
    ),
  })
  const jwsOf = (log: Log, number: number): string => log.checkpoints[number - 1]?.jws ?? ''

  test('one dropped from the middle and from the start', async () => {
    const log = await sample()
    expect(await wrong({ ...log, checkpoints: log.checkpoints.toSpliced(1, 1) })).toEqual(['missing #2'])
    expect(await wrong({ ...log, checkpoints: log.checkpoints.slice(1) })).toEqual(['missing #1'])
  })

  test('one dropped from the end, by who knows it; and all, once they are overdue', async () => {
    const log = await sample()
    const cut = { ...log, checkpoints: log.checkpoints.slice(0, 2) }
    const known = [{ number: 3, hash: checkpointHash(log.checkpoints[2] as StoredCheckpoint) }]
    expect(await wrong(log, { known })).toEqual([])
    expect(await wrong(cut, { known })).toEqual(['missing #3'])
    expect(await wrong(cut, { now: at(605) })).toEqual([])
    expect(await wrong(cut, { now: at(606) })).toEqual(['checkpoint_overdue #undefined'])
    expect(await wrong({ ...log, checkpoints: [] }, { checkpointWithinSeconds: 5 })).toHaveLength(1)
  })

  test('one that is not the one known from elsewhere', async () => {
    expect(await wrong(await sample(), { known: [{ number: 2, hash: '0'.repeat(64) }] })).toEqual([
      'replaced #2',
    ])
  })

  test('an edited payload', async () => {
    const log = await sample()
    const [header, payload = '', signature] = jwsOf(log, 2).split('.')
    const said = Buffer.from(payload, 'base64url').toString().replace('"number":2', '"number":7')
    const jws = [header, Buffer.from(said).toString('base64url'), signature].join('.')
    expect(await wrong(changed(log, 2, jws))).toEqual(['bad_signature #2'])
  })

  test('a signature spelt otherwise, and text that is no JWS', async () => {
    const log = await sample()
    expect(await wrong(changed(log, 3, `${jwsOf(log, 3)}=`))).toContain('malformed #3')
    for (const text of ['', 'x', '..', 'a.b.c', '{}'])
      expect(await wrong(changed(log, 3, text))).toContain('malformed #3')
  })

  test('one signed by another key, under its own name and under ours', async () => {
    const book = logBook()
    book.append('a', 1)
    await book.checkpoint(2)
    book.append('a', 3)
    await book.checkpoint(4, undefined, signAsStranger)
    expect(await wrong(book.log)).toEqual(['unknown_key #2'])
    await book.checkpoint(5, undefined, signUnderOurName)
    expect(await wrong(book.log)).toEqual(['unknown_key #2', 'bad_signature #3'])
  })

  test('something else that our key signed', async () => {
    const log = await sample()
    const payload = Buffer.from(jwsOf(log, 2).split('.')[1] ?? '', 'base64url')
    expect(await wrong(changed(log, 2, await sign(payload, 'leasehold-receipt+jws')))).toEqual([
      'malformed #2',
    ])
    expect(
      await wrong(changed(log, 2, await sign(Buffer.from('{}'), 'leasehold-audit-checkpoint+jws'))),
    ).toEqual(['malformed #2'])
  })

  test('two that changed places, as rows and as numbers; and a doubled one', async () => {
    const log = await sample()
    expect(await wrong({ ...log, checkpoints: swapped(log.checkpoints, 0, 1) })).toEqual(['out_of_order #1'])
    const renumbered = changed(changed(log, 1, jwsOf(log, 2)), 2, jwsOf(log, 1))
    expect(await wrong(renumbered)).toEqual(['out_of_order #1', 'out_of_order #2'])
    expect(
      await wrong({
        ...log,
        checkpoints: log.checkpoints.toSpliced(1, 0, log.checkpoints[0] as StoredCheckpoint),
      }),
    ).toEqual(['duplicated #1'])
  })

  test('one replaced by another that our key signed', async () => {
    const log = await sample()
    const other = logBook()
    other.append('z', 1)
    await other.checkpoint(2)
    expect(await wrong(changed(log, 1, jwsOf(other.log, 1)))).toContain('broken_link #2')
  })

  test('one that says a chain is shorter or other than before', async () => {
    const book = logBook()
    book.append('a', 1)
    book.append('a', 2)
    await book.checkpoint(3)
    await book.checkpoint(4, { a: { seq: 1, hash: '0'.repeat(64) } })
    await book.checkpoint(5, { a: { seq: 2, hash: '0'.repeat(64) } })
    expect(await wrong(book.log)).toEqual(['head_went_back a/1', 'head_went_back a/2'])
  })

  test('those of another installation', async () => {
    expect(await wrong(await sample(), { issuer: 'urn:leasehold:other' })).toContain('replaced #1')
  })

  test('one dated before the one it follows', async () => {
    const log = await sample()
    const said = Buffer.from(jwsOf(log, 3).split('.')[1] ?? '', 'base64url').toString()
    const payload = Buffer.from(said.replace(at(6), at(3)))
    const jws = await sign(payload, 'leasehold-audit-checkpoint+jws')
    expect(await wrong(changed(log, 3, jws))).toEqual(['back_dated #3'])
  })

  test('a signature whose unused bits were changed, which decodes to the same', async () => {
    const log = await sample()
    const jws = jwsOf(log, 3)
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const other = alphabet[alphabet.indexOf(jws.at(-1) ?? '') + 1]
    expect(await wrong(changed(log, 3, `${jws.slice(0, -1)}${other}`))).toEqual(['malformed #3'])
  })

  test('a hole among them, or one that cannot be relied on, accuses no event', async () => {
    const book = logBook()
    book.append('a', 1)
    await book.checkpoint(2)
    book.append('b', 3)
    await book.checkpoint(4)
    book.append('a', 1000)
    await book.checkpoint(1001)
    book.append('b', 1002)
    await book.checkpoint(1003)
    expect(await wrong({ ...book.log, checkpoints: book.log.checkpoints.toSpliced(1, 1) })).toEqual([
      'missing #2',
    ])
    expect(await wrong(changed(book.log, 2, jwsOf(book.log, 1)))).toEqual(['out_of_order #2'])
  })
})
