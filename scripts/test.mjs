// npm test: every check there is. With arguments, vitest alone with those arguments.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepare } from './lib/build.mjs'
import { endAs, must, runTool } from './lib/run.mjs'

const args = process.argv.slice(2)

await prepare()
if (args.length === 0) await check()
const { outcome, line } = await test()
console.log(line)
endAs(outcome)

async function check() {
  const stages = [
    ['biome', ['check', '--error-on-warnings', '.']],
    ['tsc', ['--noEmit']],
    ['tsc', ['-p', 'src/console']],
    ['knip', []],
  ]
  for (const [tool, flags] of stages) {
    console.log(`\n> ${[tool, ...flags].join(' ')}`)
    must(await runTool(tool, flags), `${tool} found something; it is above`)
  }
}

async function test() {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-count-'))
  const file = join(folder, 'count.json')
  const counter = fileURLToPath(new URL('./lib/count-reporter.mjs', import.meta.url))
  const flags = ['run', '--reporter=default', `--reporter=${counter}`, ...args]
  try {
    const outcome = await runTool('vitest', flags, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, LEASEHOLD_TEST_COUNT: file },
    })
    return { outcome, line: closingLine(outcome, file) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** `812 passed, 0 failed`: the last line, for those who read only that. */
function closingLine(outcome, file) {
  const { passed, failed, skipped } = existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : { passed: 0, failed: 0, skipped: 0 }
  // A run can fail without a failing test: a set-up that threw, servers left running.
  const shown = outcome.code === 0 ? failed : Math.max(failed, 1)
  return `${passed} passed, ${shown} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}
