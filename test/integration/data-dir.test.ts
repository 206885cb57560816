import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openDataDir } from '../../src/dev/data-dir.ts'
import { built, runScript } from '../support/built.ts'
import { testFolder } from '../support/test-root.ts'

const opener = (path: string) => `
  import { openDataDir } from '${built('src/dev/data-dir.js')}'
  console.log(await openDataDir('${path}').then(() => 'open', (error) => error.message))
  process.stdin.resume()`

test('the folder is closed to others, and its master key is made once', async () => {
  const path = join(testFolder('data'), 'made')
  const first = await openDataDir(path)
  const key = readFileSync(first.masterKeyFile, 'utf8')
  first.release()
  const second = await openDataDir(path)
  second.release()

  expect(Buffer.from(key, 'base64')).toHaveLength(32)
  expect(readFileSync(second.masterKeyFile, 'utf8')).toBe(key)
  expect(statSync(second.masterKeyFile).mode & 0o777).toBe(0o600)
  // As root the database's account may pass through, and no more than that.
  expect(statSync(path).mode & 0o777).toBe(process.getuid?.() === 0 ? 0o710 : 0o700)
})

test('a second start fails with a sentence that names the process and the setting', async () => {
  const path = join(testFolder('data'), 'made')
  const first = await openDataDir(path)
  const second = runScript(opener(path))
  expect(await second.firstLine).toBe(
    `${path} is in use by process ${process.pid}: stop that one, or set LEASEHOLD_DATA_DIR to another folder`,
  )
  await second.kill()
  await expect(openDataDir(path)).rejects.toThrow('LEASEHOLD_DATA_DIR')
  first.release()
})

test('the lock of a process killed with -9 is free', async () => {
  const path = join(testFolder('data'), 'made')
  const killed = runScript(opener(path))
  expect(await killed.firstLine).toBe('open')
  await killed.kill()
  const next = await openDataDir(path)
  next.release()
})

test('a lock whose pid has passed to another program is free', async () => {
  const path = join(testFolder('data'), 'made')
  mkdirSync(join(path, 'lock'), { recursive: true })
  chmodSync(path, 0o700)
  for (const state of ['asking', 'held']) {
    writeFileSync(join(path, 'lock', `${process.ppid}-0123456789abcdef.${state}`), '')
  }
  const next = await openDataDir(path)
  next.release()
})

test('of many that start at once, one gets it', async () => {
  const path = join(testFolder('data'), 'made')
  const starters = Array.from({ length: 8 }, () => runScript(opener(path)))
  const answers = await Promise.all(starters.map((starter) => starter.firstLine))
  await Promise.all(starters.map((starter) => starter.kill()))
  expect(answers.filter((answer) => answer === 'open')).toHaveLength(1)
  expect(answers.filter((answer) => answer.includes('is in use by process'))).toHaveLength(7)
})

test('a folder that every user may write to is refused', async () => {
  const path = testFolder('data')
  chmodSync(path, 0o777)
  await expect(openDataDir(path)).rejects.toThrow(/^LEASEHOLD_DATA_DIR: .* every user may write to it/)
})
