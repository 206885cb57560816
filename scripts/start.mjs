// npm start: the whole broker in one process on this machine. Arguments are passed on.
import { prepare } from './lib/build.mjs'
import { endAs, run } from './lib/run.mjs'

await prepare()
endAs(await run(process.execPath, ['dist/src/cli.js', 'dev', ...process.argv.slice(2)]))
