import { execFile } from 'node:child_process'
import { access, constants, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A program the tests start, and what its environment must have on top of ours. */
export type Program = { command: string; env: Record<string, string> }

/** What the tests need and npm cannot bring. The variable names a server, or a program, of the user's own to use instead. */
const PARTS = {
  redis: {
    variable: 'TEST_REDIS_URL',
    commands: ['redis-server', 'valkey-server'],
    debian: 'redis-server',
    service: 'redis-server',
  },
  mariadb: {
    variable: 'TEST_MARIADB_URL',
    commands: ['mariadbd'],
    debian: 'mariadb-server',
    service: 'mariadb',
  },
  chromium: {
    variable: 'TEST_CHROMIUM',
    commands: ['chromium', 'chromium-browser', 'google-chrome'],
    debian: 'chromium',
  },
} as const satisfies Record<string, Part>

/** `service`: the one that the package brings. */
type Part = { variable: string; commands: readonly string[]; debian: string; service?: string }
export type PartName = keyof typeof PARTS

/** The server's URL or the program's path, where the user gave us one to use. */
export const givenPart = (name: PartName): string | undefined => process.env[PARTS[name].variable]

/** The program, from the path or else from Debian's packages. A missing part is a failure, never a skip. */
export async function provision(name: PartName): Promise<Program> {
  const part = PARTS[name]
  const found = await onPath(part)
  if (found) return found
  try {
    return await (process.getuid?.() === 0 ? install(part) : unpack(part))
  } catch (cause) {
    const { variable, commands, debian } = part
    throw new Error(
      `the tests need ${commands.join(' or ')}: install it (on Debian: apt-get install ${debian}) or set ${variable}`,
      { cause },
    )
  }
}

/** Whether the program is there without having to be brought. */
export const isOnPath = async (name: PartName): Promise<boolean> => (await onPath(PARTS[name])) !== undefined

async function onPath({ commands }: Part): Promise<Program | undefined> {
  // Where Debian puts servers, which ordinary users do not have on their path.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return firstThatRuns(commands, folders.filter(Boolean), {})
}

async function firstThatRuns(commands: readonly string[], folders: string[], env: Record<string, string>) {
  for (const folder of folders) {
    for (const name of commands) {
      const command = join(folder, name)
      if (await runs({ command, env })) return { command, env }
    }
  }
  return undefined
}

async function runs({ command, env }: Program): Promise<boolean> {
  try {
    await access(command, constants.X_OK)
    await run(command, ['--version'], { env: { ...process.env, ...env } })
    return true
  } catch {
    return false
  }
}

/**
 * Installing a server package starts the server, unless a policy forbids it. Ours is there only while apt runs:
 * a shell puts it up and takes it down, so that it goes away even if we are killed meanwhile. One of a killed
 * shell is known by its second line, and the lock keeps a second copy of us from taking ours for that.
 */
const INSTALL = `
set -e
exec 9>/run/leasehold-provision.lock
flock 9
policy=/usr/sbin/policy-rc.d
kept=$policy.kept-by-leasehold
ours() { sed -n 2p "$policy" 2>/dev/null | grep -q '^# leasehold$'; }
restore() {
  if [ -e "$kept" ]; then mv -f "$kept" "$policy"
  elif ours; then rm -f "$policy"
  fi
}
restore
trap restore EXIT
trap 'exit 1' HUP INT TERM
printf '#!/bin/sh\\n# leasehold\\nexit 101\\n' > "$policy.new"
chmod 755 "$policy.new"
if [ -e "$policy" ]; then mv "$policy" "$kept"; fi
mv "$policy.new" "$policy"
install() { apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install -y --no-install-recommends "$1"; }
install "$1" || { apt-get -o DPkg::Lock::Timeout=300 update && install "$1"; }
# Nor at the next boot.
if [ -n "$2" ] && command -v systemctl >/dev/null; then systemctl disable "$2" || true; fi
`

async function install(part: Part): Promise<Program> {
  say(`installing Debian's ${part.debian}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  // In a session of its own: Ctrl-C in the middle of dpkg leaves a package half installed.
  const how = { env, detached: true, maxBuffer: 1 << 26 }
  await run('/bin/sh', ['-c', INSTALL, 'sh', part.debian, part.service ?? ''], how)
  const program = await onPath(part)
  if (!program) throw new Error(`${part.debian} is installed, but ${part.commands.join(' or ')} does not run`)
  return program
}

/** Without root: the packages that are missing here, downloaded and unpacked into our cache. */
async function unpack(part: Part): Promise<Program> {
  const target = join(cacheFolder(), 'debian', part.debian)
  const cached = await unpacked(part, target)
  if (cached) return cached
  say(`downloading Debian's ${part.debian} into ${target}`)
  const draft = await freshFolder(`${target}-`)
  try {
    await download(part.debian, draft).catch(async () => {
      const lists = await privateLists()
      await run('apt-get', [...lists, 'update'])
      await download(part.debian, draft, lists)
    })
    const packages = (await readdir(draft)).filter((file) => file.endsWith('.deb'))
    for (const file of packages) {
      await run('dpkg', ['-x', join(draft, file), draft])
      await rm(join(draft, file))
    }
    // What is there does not run; it is of an older system, or another copy of us was faster with the same.
    if (!(await unpacked(part, target))) {
      await rm(target, { recursive: true, force: true })
      await rename(draft, target)
    }
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  const program = await unpacked(part, target)
  if (!program) throw new Error(`the unpacked ${part.debian} does not run`)
  return program
}

async function unpacked(part: Part, root: string): Promise<Program | undefined> {
  const libraries = await Promise.all(
    ['lib', 'usr/lib'].map(async (folder) => {
      const names = await readdir(join(root, folder)).catch(() => [])
      return names.filter((name) => name.includes('-linux-')).map((name) => join(root, folder, name))
    }),
  )
  const env = { LD_LIBRARY_PATH: libraries.flat().join(':') }
  return firstThatRuns(
    part.commands,
    // The last: a script in `usr/bin` may only know where its program is once that is installed.
    ['usr/bin', 'usr/sbin', `usr/lib/${part.debian}`].map((folder) => join(root, folder)),
    env,
  )
}

async function download(name: string, folder: string, lists: string[] = []): Promise<void> {
  // A simulated install tells which packages are needed and not installed yet.
  const plan = await run('apt-get', [...lists, '-s', '--no-install-recommends', 'install', name])
  const names = [...plan.stdout.matchAll(/^Inst (\S+)/gm)].map(([, needed]) => needed as string)
  if (names.length === 0) throw new Error(`${name} is installed, but does not run`)
  await run('apt-get', [...lists, 'download', ...names], { cwd: folder })
}

/** Package lists of our own, for a system whose lists are missing or too old, which only root may renew. */
async function privateLists(): Promise<string[]> {
  const apt = join(cacheFolder(), 'apt')
  await mkdir(join(apt, 'lists', 'partial'), { recursive: true })
  await mkdir(join(apt, 'cache', 'archives', 'partial'), { recursive: true })
  return ['-o', `Dir::State::lists=${join(apt, 'lists')}`, '-o', `Dir::Cache=${join(apt, 'cache')}`]
}

/** Where downloads are kept from one run to the next. */
export const cacheFolder = (): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'leasehold')

/** An empty folder beside the place it will be renamed to. */
export async function freshFolder(prefix: string): Promise<string> {
  await mkdir(join(prefix, '..'), { recursive: true })
  return mkdtemp(prefix)
}

const say = (text: string) => process.stderr.write(`tests: ${text}\n`)
