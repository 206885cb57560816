import {
  type AccessParts,
  circumstancesOf,
  type Found,
  find,
  identified,
  isJudged,
  questionOf,
  type Request,
  roleOf,
} from './access.ts'
import type { Question } from './ports.ts'
import { readPlace, refuseWriteToFolder } from './request-line.ts'
import type { PolicyAsk, PolicyFace } from './route.ts'

/** Policy's further answers in the circumstances of this request. */
export const policyFace = (parts: AccessParts, request: Request): PolicyFace => {
  const readingOf = async () => (await identified(parts, request)).reading
  const question = async (found: Found, ask: PolicyAsk): Promise<Question> => {
    const { principal, operation: _, path: __, parameters = {}, ...changes } = ask
    return questionOf(found, {
      ...circumstancesOf(request, await readingOf()),
      ...changes,
      principal,
      parameters,
    })
  }
  return {
    async capabilities(path, as = request.principal) {
      if (!as) return []
      const place = readPlace(path) ?? { path: '', endsInSlash: false }
      const found = await find(parts, request, place, 'read')
      const endpoints = Object.values(found.route?.on ?? {})
      return parts.authorizer.capabilities({
        ...circumstancesOf(request, await readingOf()),
        ...roleOf(
          found,
          endpoints.find(({ role }) => role !== undefined),
        ),
        principal: as,
        path: place.endsInSlash ? `${found.path}/` : found.path,
      })
    },
    async patterns() {
      const { principal } = request
      if (!principal) return []
      return parts.authorizer.patterns({
        ...circumstancesOf(request, await readingOf()),
        principal,
        path: '',
      })
    },
    async decide(ask) {
      const found = await find(parts, request, { path: ask.path.replace(/\/+$/, '') }, ask.operation)
      const { wrapTtlSeconds } = request
      const asked = wrapTtlSeconds === undefined ? ask : { wrapTtlSeconds, ...ask }
      return parts.authorizer.decide(await question(found, asked))
    },
    async simulate(ask) {
      const { parameters = {}, operation } = ask
      const place = readPlace(ask.path)
      if (!place) return undefined
      refuseWriteToFolder(operation, place)
      const found = await find(parts, request, place, operation)
      return {
        // Whose token it is, is known, and not what it is: whatever token the parameters name is another one.
        explained: isJudged(found, SOME_TOKEN, parameters)
          ? await parts.authorizer.explain(await question(found, ask))
          : undefined,
        missing: missingIn(found),
      }
    },
  }
}

const SOME_TOKEN = ''

/** Which part of it there is not, for whoever is let in. */
function missingIn({ mount, route, endpoint }: Found): 'mount' | 'path' | 'operation' | undefined {
  if (!mount) return 'mount'
  if (!route) return 'path'
  return endpoint ? undefined : 'operation'
}
