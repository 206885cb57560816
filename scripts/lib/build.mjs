import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ensureInstalled, ensureNode } from './install.mjs'
import { alone } from './lock.mjs'
import { must, ROOT, runTool } from './run.mjs'

/** Everything a command of ours needs before it can run: packages and a build, of this very source. */
export async function prepare() {
  ensureNode()
  await alone(async () => {
    await ensureInstalled()
    await build()
  })
}

const DIST = join(ROOT, 'dist')
const STAMP = join(DIST, '.built-from')
const SOURCES = ['src', 'workers', 'bench', 'test/support']
const SETTINGS = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json']

async function build() {
  const files = SOURCES.flatMap(filesIn)
  const source = digestOf([...files, ...SETTINGS])
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === source) return
  console.error('building')
  rmSync(STAMP, { force: true })
  must(await runTool('tsc', ['-p', 'tsconfig.build.json']), 'the build failed; tsc says why above')
  // tsc carries over no other files, such as migrations, and removes nothing; an old migration would run.
  for (const file of files.filter((name) => name.startsWith('src/') && !name.endsWith('.ts'))) {
    mkdirSync(dirname(join(DIST, file)), { recursive: true })
    cpSync(join(ROOT, file), join(DIST, file))
  }
  const known = new Set(files)
  for (const file of filesIn('dist').map((name) => name.slice('dist/'.length))) {
    if (!known.has(file) && !known.has(file.replace(/\.js(\.map)?$/, '.ts'))) rmSync(join(DIST, file))
  }
  writeFileSync(STAMP, source)
}

function digestOf(files) {
  const hash = createHash('sha256')
  for (const file of files.sort())
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(ROOT, file)))
      .update('\0')
  return hash.digest('hex')
}

/** Every file below a folder, named from the clone's root. */
function filesIn(folder) {
  if (!existsSync(join(ROOT, folder))) return []
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = `${folder}/${entry.name}`
    return entry.isDirectory() ? filesIn(name) : [name]
  })
}
