import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

/** Who may import whom; type imports count. A folder or top-level file missing here fails, so this is the whole map. */
const MAY_USE: Record<string, readonly string[]> = {
  lib: [],
  config: ['lib'],
  ledger: ['lib'],
  queue: ['lib'],
  engine: ['lib'],
  secrets: ['lib'],
  policy: ['lib'],
  telemetry: ['lib'],
  audit: ['ledger', 'policy', 'lib'],
  identity: ['ledger', 'policy', 'lib'],
  lease: ['engine', 'secrets', 'queue', 'audit', 'ledger', 'policy', 'lib'],
  rotation: ['engine', 'secrets', 'queue', 'audit', 'ledger', 'lib'],
  breakglass: ['lease', 'audit', 'ledger', 'queue', 'policy', 'lib'],
  http: ['identity', 'policy', 'lease', 'rotation', 'breakglass', 'audit', 'lib'],
  // Besides over HTTP, the audit log is verified without a server; who joins the parts hands in the ledger's.
  cli: ['audit', 'lib'],
  // Over HTTP, like any caller.
  console: ['lib'],
  compose: [
    'config',
    'lib',
    'ledger',
    'queue',
    'engine',
    'secrets',
    'policy',
    'audit',
    'identity',
    'lease',
    'rotation',
    'breakglass',
    'http',
    'telemetry',
  ],
  dev: ['config', 'lib', 'compose'],
  main: ['dev', 'compose', 'config', 'queue', 'lib'],
  // The command line starts processes and runs the commands of `cli/`.
  'cli.ts': ['main', 'dev', 'compose', 'config', 'cli', 'queue', 'lib', 'workers'],
  workers: ['main', 'dev', 'compose', 'config', 'queue', 'lib'],
}

/** The place a file belongs to: its folder below `src/`, or its own name at the top. */
function placeOf(path: string): string {
  const [top = '', second] = path.split('/')
  if (top === 'workers') return 'workers'
  const place = second ?? ''
  if (path === 'src/cli.ts') return 'cli.ts'
  return place.replace(/\.ts$/, '')
}

/** Imports that the table does not allow, as sentences. */
function violations(path: string, source: string): string[] {
  const place = placeOf(path)
  const allowed = MAY_USE[place]
  if (!allowed) return [`${path}: no row for ${place}`]
  const imports = [...source.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(
    ([, target]) => target as string,
  )
  return imports
    .map((target) => placeOf(new URL(target, `file:///${path}`).pathname.slice(1)))
    .filter((target) => target !== place && !allowed.includes(target))
    .map((target) => `${path} imports ${target}`)
}

const files = ['src', 'workers'].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file))
    .map((file) => `${folder}/${file}`),
)

describe('the import table', () => {
  test.each(files)('%s imports only what its layer may', (file) => {
    expect(violations(file, readFileSync(file, 'utf8'))).toEqual([])
  })

  test('sees every layer', () => {
    expect(files.length).toBeGreaterThan(50)
  })

  test.each([
    ['src/lib/x.ts', `import type { Lease } from '../lease/book.ts'`],
    ['src/http/x.ts', `import { many } from '../ledger/db.ts'`],
    ['src/engine/postgres/x.ts', `const later = await import('../../lease/issue.ts')`],
    ['src/console/x.tsx', `import { messageOf } from '../http/envelope.ts'`],
    ['src/novel/x.ts', `export {}`],
  ])('a planted violation in %s is found', (file, source) => {
    expect(violations(file, source)).toHaveLength(1)
  })
})
