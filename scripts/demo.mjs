// npm run demo: the life of a lease, step by step. Arguments are passed on.
import { prepare } from './lib/build.mjs'
import { endAs, run } from './lib/run.mjs'

await prepare()
endAs(await run(process.execPath, ['dist/src/cli.js', 'demo', ...process.argv.slice(2)]))
