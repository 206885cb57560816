import { writeFileSync } from 'node:fs'

/** A vitest reporter that only counts: what its own JSON reporter would say takes a line after the summary. */
export default function countReporter() {
  return {
    onTestRunEnd(modules, unhandledErrors) {
      const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
      for (const module of modules) {
        for (const test of module.children.allTests()) count[test.result().state] += 1
        // A file that could not be loaded, a hook that threw.
        count.failed += module.errors().length
        for (const suite of module.children.allSuites()) count.failed += suite.errors().length
      }
      writeFileSync(process.env.LEASEHOLD_TEST_COUNT, JSON.stringify(count))
    },
  }
}
