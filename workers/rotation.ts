import { loadConfig } from '../src/config.ts'
import { messageOf } from '../src/lib/errors.ts'
import { runUntilSignalled, startRotation } from '../src/main.ts'

// One process of the fleet that rotates passwords at their time and does nothing else. `leasehold worker` does both:
// this is for keeping them apart. It holds no state: any number may run, anywhere.
try {
  await runUntilSignalled(await startRotation(loadConfig('worker', process.env)))
} catch (error) {
  process.stderr.write(`leasehold rotation: ${messageOf(error)}\n`)
  process.exitCode = 1
}
