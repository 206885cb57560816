import type { Engine, EngineType } from '../engine.ts'
import { listAccounts } from './accounts.ts'
import { admit } from './admit.ts'
import { openApi } from './api.ts'
import { checkAsk } from './ask.ts'
import { createAccounts, extendAccounts, rearmAccounts } from './create.ts'
import { openEnding } from './end.ts'
import { accountName } from './name.ts'
import { probeTarget } from './probe.ts'
import { checkRole } from './role.ts'
import { checkTarget, readTarget } from './target.ts'
import { followTies } from './ties.ts'

/**
 * Accounts are service accounts of a Kubernetes cluster, or tokens of those that are there. Every token hangs on a
 * Secret made for its lease; an account's `targetRef` is that Secret's UID.
 */
export const kubernetes = {
  name: 'kubernetes',
  plugins: ['kubernetes'],
  mountType: 'kubernetes',
  checkTarget: (fields) => checkTarget(fields),
  checkRole,
  checkAsk,
  renewable: ({ renewable }) => renewable === true,
  accountName: (ask) => accountName(ask),
  open(spec, admin): Engine {
    const target = readTarget(spec)
    const api = openApi(target, admin)
    return {
      create: (tickets) => createAccounts(api, tickets),
      extend: (terms) => extendAccounts(api, terms),
      rearm: (terms) => rearmAccounts(api, terms),
      end: openEnding(api, target),
      admit: (ask) => admit(api, ask),
      follow: (how) => followTies(api, how),
      accounts: () => listAccounts(api),
      probe: () => probeTarget(api),
      ping: async () => void (await api.ask('ending', { path: '/version' })),
      close: async () => api.close(),
    }
  },
} satisfies EngineType
