import { randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type AuditWorld, openAuditWorld } from './audit-log-world.ts'

// The whole log on a real ledger: what tampering in the database or in an export shows, and to whom.

let world: AuditWorld
let folder: string
beforeEach(async () => {
  world = await openAuditWorld()
  folder = await mkdtemp(join(tmpdir(), 'leasehold-audit-'))
})
afterEach(async () => {
  await world.close()
  await rm(folder, { recursive: true })
})

const file = (name: string) => join(folder, name)
/** Rewrites the events of the one chain from `seq` on with good hashes, as one could who may write to the ledger. */
const REWRITE = `
  do $$
  declare previous text := (select hash from leasehold.audit_event where seq = 1); e record; h text;
  begin
    update leasehold.audit_event set body = replace(body, 'sys/thing', 'sys/other') where seq = 2;
    for e in select * from leasehold.audit_event where seq >= 2 order by seq loop
      h := encode(sha256(convert_to('leasehold audit event v1' || e'\\n' || previous || e'\\n' || e.writer || e'\\n'
        || e.seq || e'\\n' || e.at || e'\\n' || e.body, 'utf8')), 'hex');
      update leasehold.audit_event set hash = h where seq = e.seq;
      previous := h;
    end loop;
  end $$`

describe('tampering in the database', () => {
  const onTheLog: [string, string, RegExp, string[]][] = [
    [
      'an edited event',
      `update leasehold.audit_event set body = replace(body, 'sys/thing', 'sys/other') where seq = 2`,
      /event 2 of writer \w+ \(request r2\) does not match its hash/,
      ['edited'],
    ],
    [
      'a rewritten stretch',
      REWRITE,
      /events 1 to 3 of writer \w+ are not those that checkpoint 1 signed/,
      ['rewritten'],
    ],
    [
      'a dropped event',
      'delete from leasehold.audit_event where seq = 2',
      /event 2 of writer \w+ is missing/,
      ['missing'],
    ],
    [
      'a dropped tail',
      'delete from leasehold.audit_event where seq > 3',
      /events 4 to 6 of writer \w+ are missing/,
      ['missing'],
    ],
    [
      'a dropped log',
      'delete from leasehold.audit_event',
      /all 6 events of writer \w+ are missing: checkpoint 2 signed them/,
      ['missing_writer'],
    ],
    [
      'two events in each other’s place',
      `update leasehold.audit_event set seq = case seq when 4 then -5 else -4 end where seq in (4, 5);
       update leasehold.audit_event set seq = -seq where seq < 0`,
      /event 4 of writer \w+ \(request r5\) does not match its hash/,
      ['edited'],
    ],
    [
      'a back-dated event',
      `update leasehold.audit_event set at = '2001-01-01T00:00:00.000000Z' where seq = 5`,
      /event 5 of writer \w+ \(request r5\) does not match its hash: its time was set back/,
      ['back_dated'],
    ],
    [
      'a dropped checkpoint',
      'delete from leasehold.audit_checkpoint where number = 1',
      /checkpoint 1 is missing/,
      ['missing'],
    ],
  ]

  test.each(onTheLog)('%s is found and named', async (_, tampering, sentence, kinds) => {
    await world.record('r1', 'r2', 'r3')
    await world.checkpoints.make()
    await world.record('r4', 'r5', 'r6')
    await world.checkpoints.make()
    expect(await world.verify()).toMatchObject({ code: 0, err: '' })

    await world.sql(tampering)
    const { code, out } = await world.verify()
    expect(code).toBe(1)
    expect(out).toMatch(sentence)
    expect((await world.report()).problems.map(({ kind }) => kind)).toEqual(expect.arrayContaining(kinds))
  })

  test('a tail dropped with its checkpoint is found by who knows the checkpoint', async () => {
    await world.record('r1')
    await world.checkpoints.make()
    await world.record('r2')
    await world.checkpoints.make()
    const [, number, hash = ''] = /: (\d+):([0-9a-f]{64})\n/.exec((await world.verify()).out) ?? []
    const checkpoint = [{ number: Number(number), hash }]
    expect(await world.verify({ checkpoint })).toMatchObject({ code: 0 })

    await world.sql(`delete from leasehold.audit_checkpoint where number = 2;
      delete from leasehold.audit_event where seq = 2`)
    expect(await world.verify()).toMatchObject({ code: 0 })
    const found = await world.verify({ checkpoint })
    expect(found.code).toBe(1)
    expect(found.out).toContain('checkpoint 2 is known from elsewhere and missing')
  })

  test('events that nothing signs for long are a problem', async () => {
    await world.record('r1')
    await world.test.advance(660)
    const { code, out } = await world.verify()
    expect(code).toBe(1)
    expect(out).toMatch(/1 events?, the oldest of \S+, have no checkpoint/)
  })

  test('a checkpoint of another key is none of ours', async () => {
    await world.record('r1')
    await world.checkpoints.make()
    const stranger = await openAuditWorld()
    const jwks = file('jwks.json')
    writeFileSync(jwks, JSON.stringify(stranger.signer.jwks()))
    await stranger.close()
    const { code, out } = await world.verify({ jwks })
    expect(code).toBe(1)
    expect(out).toContain('checkpoint 1 cannot be relied on: no key of ours signed it')
  })
})

describe('verify', () => {
  test('says what it saw, and which checkpoint to keep', async () => {
    await world.record('r1', 'r2')
    await world.checkpoints.make()
    await world.record('r3')
    const { out } = await world.verify()
    expect(out).toMatch(
      /^Sound: 3 events of 1 writer, 1 checkpoint\.\nLast checkpoint, of \S+Z: 1:[0-9a-f]{64}\nNewer than it, and not signed yet: 1 event\.\n$/,
    )
  })

  test('says that nothing is signed before there is a checkpoint', async () => {
    await world.record('r1')
    expect(await world.verify()).toEqual({
      code: 0,
      out: 'Sound: 1 event of 1 writer, 0 checkpoints.\nNo checkpoint: nothing here is signed.\n',
      err: '',
    })
  })

  test('needs the public keys alone, and makes none', async () => {
    await world.record('r1')
    await world.checkpoints.make()
    const jwks = file('jwks.json')
    writeFileSync(jwks, JSON.stringify(world.signer.jwks()))
    await world.sql('delete from leasehold.sealed_secret')
    expect(await world.verify({ jwks })).toMatchObject({ code: 0, err: '' })
    expect(await world.verify()).toMatchObject({
      code: 2,
      out: '',
      err: 'leasehold: the ledger has no signing key; name the public keys with --jwks\n',
    })
    expect((await world.test.ledger.query('select from leasehold.sealed_secret')).rowCount).toBe(0)
  })

  test('needs to read two tables, and no more', async () => {
    await world.record('r1')
    await world.checkpoints.make()
    const auditor = `auditor_${randomBytes(4).toString('hex')}`
    const [grants = ''] = /^GRANT [\s\S]*?^```/m.exec(readFileSync('docs/audit.md', 'utf8')) ?? []
    await world.sql(`create role ${auditor} login password 'secret';
      ${grants.replace('```', '').replaceAll('auditor', auditor)}
      grant select on public.test_clock to ${auditor}`)
    const url = new URL(world.test.url)
    Object.assign(url, { username: auditor, password: 'secret' })
    const jwks = file('jwks.json')
    writeFileSync(jwks, JSON.stringify(world.signer.jwks()))

    expect(await world.verify({ jwks }, { url: url.href })).toMatchObject({ code: 0, err: '' })
    expect(await world.exported({ file: file('audit.jsonl') }, url.href)).toMatchObject({ code: 0, err: '' })
    await world.sql(`drop owned by ${auditor}; drop role ${auditor}`)
  })

  test('says that it could not look', async () => {
    await world.sql('alter schema leasehold rename to elsewhere')
    expect(await world.verify()).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('leasehold: '),
    })
  })
})

describe('an exported log', () => {
  beforeEach(async () => {
    await world.record('r1', 'r2')
    await world.checkpoints.make()
    await world.record('r3')
  })

  test('is verified like the ledger, from a file of its owner', async () => {
    const path = file('audit.jsonl')
    expect(await world.exported({ file: path })).toEqual({ code: 0, out: '', err: '' })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await world.report({ file: path })).toEqual(await world.report())
    expect((await world.exported()).out).toBe(readFileSync(path, 'utf8'))
  })

  test('never takes the place of a file', async () => {
    const path = file('audit.jsonl')
    writeFileSync(path, 'mine')
    expect(await world.exported({ file: path })).toMatchObject({
      code: 2,
      err: expect.stringContaining('EEXIST'),
    })
    expect(readFileSync(path, 'utf8')).toBe('mine')
  })

  test.each<[string, (text: string) => string, RegExp]>([
    [
      'edited',
      (text) => text.replace('"r2\\"', '"r9\\"'),
      /event 2 of writer \w+ \(request r9\) does not match/,
    ],
    ['cut short', (text) => text.split('\n').slice(0, -2).join('\n'), /last, is cut off/],
    ['cut at a line', (text) => text.replace(/\{"end".*\n/, ''), /its end is missing/],
    [
      'reordered',
      (text) => text.replace(/(\{"event".*\n)(\{"event".*\n)/, '$2$1'),
      /event 1 of writer \w+ .*stands behind a later one/,
    ],
  ])('that was %s is not sound', async (_, change, sentence) => {
    const path = file('audit.jsonl')
    const { out: text } = await world.exported()
    expect(change(text)).not.toBe(text)
    writeFileSync(path, change(text))
    const { code, out } = await world.verify({ file: path })
    expect(code).toBe(1)
    expect(out).toMatch(sentence)
  })

  test('is checked long after the last checkpoint as of its newest event', async () => {
    const path = file('audit.jsonl')
    await world.exported({ file: path })
    await world.test.advance(86_400)
    expect(await world.verify({ file: path })).toMatchObject({ code: 0 })
  })

  test('that is not there cannot be checked', async () => {
    expect(await world.verify({ file: file('none') })).toMatchObject({ code: 2, out: '' })
  })
})
