import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'

// What the documents say, held to the code where that is cheap.

const read = (file: string): string => readFileSync(file, 'utf8')

const DOCUMENTS = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync('docs')
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file)),
]

/** The first cells of a document's table rows, with every name in backticks in them. */
const namesInFirstCells = (document: string): string[] =>
  [...document.matchAll(/^\| ([^|]*) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
  )

const sorted = (names: Iterable<string>): string[] => [...new Set(names)].sort()

test('the table of settings in the README is the settings there are', () => {
  const sources = ['src/config.ts', ...readdirSync('src/config').map((file) => join('src/config', file))]
    .map(read)
    .join()
  const settings = sources.match(/\bLEASEHOLD_[A-Z_]*[A-Z]\b/g) ?? []
  const documented = namesInFirstCells(read('README.md')).filter((name) => name.startsWith('LEASEHOLD_'))
  expect(sorted(documented)).toEqual(sorted(settings))
  expect(documented).toHaveLength(new Set(documented).size)
})

describe('docs/postgresql.md and docs/mysql.md have a row for every field of', () => {
  const source = read('src/http/database.ts')
  const documented = ['docs/postgresql.md', 'docs/mysql.md'].flatMap((file) => namesInFirstCells(read(file)))

  test.each(['CONFIG_OWN', 'CONFIG_SPEC', 'ROLE_OWN', 'ROLE_SPEC'])('%s', (table) => {
    const [, body = ''] = new RegExp(`^const ${table} = \\{([^}]*)\\}`, 'm').exec(source) ?? []
    const fields = [...body.matchAll(/(\w+): /g)].map(([, name = '']) => name)
    expect(fields.length).toBeGreaterThan(2)
    expect(documented).toEqual(expect.arrayContaining(fields))
  })
})

/** As GitHub makes the anchor of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')

function anchorsIn(file: string): string[] {
  const outsideCode = read(file).replace(/^```[\s\S]*?^```/gm, '')
  return [...outsideCode.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading))
}

describe.each(DOCUMENTS)('%s', (file) => {
  const document = read(file)
  const links = [...document.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)]

  test('has no link that leads nowhere', () => {
    const broken = links
      .map(([, path = '', anchor]) => ({ place: path ? join(dirname(file), path) : file, anchor }))
      .filter(
        ({ place, anchor }) =>
          !existsSync(place) || (anchor !== undefined && !anchorsIn(place).includes(anchor)),
      )
    expect(broken).toEqual([])
  })

  test('has no placeholder left in it', () => {
    expect(document).not.toMatch(/\bTODO\b|\bTBD\b|\bXXX\b|^@/m)
  })
})

test('the documents are found', () => {
  expect(DOCUMENTS.length).toBeGreaterThanOrEqual(5)
})
