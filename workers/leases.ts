import { loadConfig } from '../src/config.ts'
import { messageOf } from '../src/lib/errors.ts'
import { runUntilSignalled, startWorker } from '../src/main.ts'

// One process of the fleet that ends leases at their time. It holds no state: any number may run, anywhere.
try {
  await runUntilSignalled(await startWorker(loadConfig('worker', process.env)))
} catch (error) {
  process.stderr.write(`leasehold worker: ${messageOf(error)}\n`)
  process.exitCode = 1
}
