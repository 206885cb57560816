import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAuditLog } from '../../src/audit/log.ts'
import type { AuditQuestion } from '../../src/ledger/audit-search.ts'
import { type AuditWorld, anEvent, openAuditWorld } from './audit-log-world.ts'

// What operators search the log by besides what has a column of its own, and the newest first.

describe('searching the audit log', () => {
  let world: AuditWorld
  beforeAll(async () => {
    world = await openAuditWorld()
    const paths = ['database/creds/app', 'database/creds/app-admin', 'sys/da"ta', 'kubernetes/creds/x']
    for (const [index, path] of paths.entries()) {
      await world.trail.record(
        anEvent({
          request_id: `r${index}`,
          what: { operation: 'read', path },
          ...(index % 2 === 1 && { details: { grant_id: `grant-${index}`, reason: 'path":"database/' } }),
        }),
      )
    }
  })
  afterAll(() => world.close())

  const all = async (question: Partial<AuditQuestion>): Promise<string[]> => {
    const seen: string[] = []
    let page: Partial<AuditQuestion> | undefined = {}
    while (page) {
      const { events, next } = await createAuditLog(world.test.ledger).find({
        limit: 2,
        ...question,
        ...page,
      })
      seen.push(...events.map(({ body }) => (body as { request_id: string }).request_id))
      page = next
    }
    return seen
  }

  test.each<[string, Partial<AuditQuestion>, string[]]>([
    ['everything, oldest first', {}, ['r0', 'r1', 'r2', 'r3']],
    ['everything, newest first', { newest: true }, ['r3', 'r2', 'r1', 'r0']],
    ['a path', { path: 'database/' }, ['r0', 'r1']],
    ['a whole path', { path: 'database/creds/app-', newest: true }, ['r1']],
    ['a path with marks of its own', { path: 'sys/da"' }, ['r2']],
    ['a path that is only in the middle', { path: 'creds/app' }, []],
    ['a grant', { grant: 'grant-3' }, ['r3']],
    ['the beginning of a grant', { grant: 'grant-' }, []],
    ['a path and a grant', { path: 'database/', grant: 'grant-1' }, ['r1']],
    ['nothing by the signs of LIKE', { path: '%' }, []],
  ])('%s', async (_, question, found) => {
    expect(await all(question)).toEqual(found)
  })
})

describe('what a path begins with', () => {
  let world: AuditWorld
  const long = `long/${'é"x'.repeat(60)}`
  const paths = [
    ...Array.from({ length: 90 }, (_, i) => `many/${i}`),
    ...Array.from({ length: 30 }, () => 'many/7'),
    ...['few/a', 'few/b', 'few/a', 'few', 'FEW/a', 'few/\u{10fffe}', 'few%', ''],
    ...[long, `${long}/more`, `${long.slice(0, 20)}z`, 'with "marks"', 'with \\ and\n', 'über/all'],
  ]
  beforeAll(async () => {
    world = await openAuditWorld()
    for (const [index, path] of paths.entries()) {
      await world.trail.record(
        anEvent({
          request_id: `${index}`,
          // What is asked with it, or said of it, is no path of the event.
          what: { operation: 'update', path, parameters: { path: 'few/parameter', grant_id: 'x' } },
          details: { path: 'few/detail', paths: ['few/x'] },
        }),
      )
    }
    await world.trail.record(anEvent({ request_id: 'none', what: { operation: 'start' } }))
    await world.sql(`update leasehold.audit_event set at_time = date_trunc('hour', at_time)`)
  })
  afterAll(() => world.close())

  test.each([
    ...['many/', 'many/7', 'many/8', 'few/', 'few', 'few/a', 'few/p', 'few/d', 'fe_', 'few%', 'nothing/', ''],
    ...[long, long.slice(0, 100), `${long}/`, `${long}x`, 'long/é"', 'with "', 'with "m', 'with \\', 'über'],
  ])('is answered page by page, each event once: %j', async (path) => {
    const wanted = paths.flatMap((each, index) => (each.startsWith(path) ? [`${index}`] : [])).sort()
    const log = createAuditLog(world.test.ledger)
    for (const newest of [false, true]) {
      for (const also of [{}, { type: 'request' }, { grant: 'x' }]) {
        const seen: string[] = []
        let page: Partial<AuditQuestion> | undefined = {}
        while (page) {
          const { events, next } = await log.find({ limit: 9, path, newest, ...also, ...page })
          seen.push(...events.map(({ body }) => (body as { request_id: string }).request_id))
          page = next
        }
        expect(seen.sort()).toEqual(wanted)
      }
    }
  })
})
