import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
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

/** The operators' page: files for browsers, made by another tool into a folder of its own. */
const CONSOLE = {
  source: 'src/console',
  dist: 'dist/console',
  stamp: join(DIST, '.console-built-from'),
  /** All it may take in: see `test/boundaries.test.ts`. */
  inputs: () => [...filesIn('src/console'), ...filesIn('src/lib'), 'tsconfig.json', 'package-lock.json'],
}

const isConsole = (file) => file.startsWith(`${CONSOLE.source}/`) || file.startsWith(`${CONSOLE.dist}/`)

async function build() {
  await buildConsole()
  const files = SOURCES.flatMap(filesIn).filter((file) => !isConsole(file))
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
  const known = new Set([...files, basename(CONSOLE.stamp)])
  for (const file of filesIn('dist')
    .filter((name) => !isConsole(name))
    .map((name) => name.slice('dist/'.length))) {
    if (!known.has(file) && !known.has(file.replace(/\.js(\.map)?$/, '.ts'))) rmSync(join(DIST, file))
  }
  writeFileSync(STAMP, source)
}

async function buildConsole() {
  const source = digestOf(CONSOLE.inputs())
  if (existsSync(CONSOLE.stamp) && readFileSync(CONSOLE.stamp, 'utf8') === source) return
  console.error('building the console')
  rmSync(CONSOLE.stamp, { force: true })
  const flags = ['build', '--config', `${CONSOLE.source}/vite.config.ts`]
  must(await runTool('vite', flags), 'the build of the console failed; vite says why above')
  writeFileSync(CONSOLE.stamp, source)
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
