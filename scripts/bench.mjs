// npm run bench: measured on real servers. Arguments are passed on.
import { prepare } from './lib/build.mjs'
import { endAs, run } from './lib/run.mjs'

await prepare()
endAs(await run(process.execPath, ['dist/bench/main.js', ...process.argv.slice(2)]))
