import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { processToken, tokenLives } from './processes.ts'

export type Lock = { release(): void }

/**
 * Take the lock that the folder `dir` stands for, or learn which process has it.
 *
 * Every asker puts up a file named after itself, then looks at the others. Names are never used twice, so a
 * dead asker's file can be removed by anyone at any time; with one shared file, two starters that both find
 * it stale could each remove the other's new one. Since each puts its file up before it looks, of two askers
 * at least one sees the other; the smaller name goes first, and `.held` says that it did.
 */
export async function takeLock(dir: string): Promise<Lock | { holder: number }> {
  const me = processToken(process.pid) ?? String(process.pid)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  if (!putUp(dir, `${me}.asking`)) return { holder: process.pid }
  const release = () => {
    // `.asking` last: as long as either is there, nobody else goes ahead.
    rmSync(join(dir, `${me}.held`), { force: true })
    rmSync(join(dir, `${me}.asking`), { force: true })
  }
  for (;;) {
    const others = livingOthers(dir, me)
    const ahead = others.find(({ name, held }) => held || name < me)
    if (ahead) {
      release()
      return { holder: Number.parseInt(ahead.name, 10) }
    }
    if (others.length === 0) {
      putUp(dir, `${me}.held`)
      return { release }
    }
    // Someone behind us: either it gives way, or it looked before we came and is about to hold.
    await sleep(10)
  }
}

function livingOthers(dir: string, me: string): { name: string; held: boolean }[] {
  const files = readdirSync(dir)
  const names = new Set(files.map((file) => file.replace(/\.(asking|held)$/, '')))
  names.delete(me)
  for (const name of names) {
    if (tokenLives(name)) continue
    names.delete(name)
    rmSync(join(dir, `${name}.held`), { force: true })
    rmSync(join(dir, `${name}.asking`), { force: true })
  }
  return [...names].map((name) => ({ name, held: files.includes(`${name}.held`) }))
}

function putUp(dir: string, file: string): boolean {
  try {
    writeFileSync(join(dir, file), '', { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}
