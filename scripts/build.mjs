// npm run build: dist/ from the sources. Does nothing when it is up to date.
import { prepare } from './lib/build.mjs'

await prepare()
