import { loadConfig } from '../src/config.ts'
import { messageOf } from '../src/lib/errors.ts'
import { runUntilSignalled, startGrants } from '../src/main.ts'

// One process of the fleet that minds the deadlines of break-glass grants and does nothing else: the leases that end
// with them are the other workers'. `leasehold worker` does both. It holds no state: any number may run, anywhere.
try {
  await runUntilSignalled(await startGrants(loadConfig('worker', process.env)))
} catch (error) {
  process.stderr.write(`leasehold grants: ${messageOf(error)}\n`)
  process.exitCode = 1
}
