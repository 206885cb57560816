import { openTestBroker, type TestBroker } from '../support/broker.ts'

/** The answer to a request that policy refuses. */
export const DENIED = { errors: ['1 error occurred:\n\t* permission denied\n\n'] }

/** Somebody with a token, and requests in that one's name. */
export type Holder = { api: TestBroker['api']; token: string; accessor: string; policies: string[] }

export type PolicyWorld = {
  at: TestBroker
  /** One with policies of these documents; the word `default` stands for that policy. */
  holder(...documents: string[]): Promise<Holder>
  close(): Promise<void>
}

export async function openPolicyWorld(): Promise<PolicyWorld> {
  const at = await openTestBroker()
  let written = 0

  const write = async (policy: string): Promise<string> => {
    if (policy === 'default') return policy
    written += 1
    const name = `p${written}`
    const answer = await at.api('PUT', `sys/policies/acl/${name}`, { policy })
    if (answer.status !== 204) throw new Error(answer.text)
    return name
  }
  return {
    at,
    async holder(...documents) {
      const policies = await Promise.all(documents.map(write))
      const no_default_policy = !documents.includes('default')
      const { json } = await at.api('POST', 'auth/token/create', { policies, no_default_policy })
      const { client_token: token, accessor } = json.auth
      const api: TestBroker['api'] = (method, path, body, headers) =>
        at.api(method, path, body, { 'X-Vault-Token': token, ...headers })
      return { api, token, accessor, policies }
    },
    close: () => at.close(),
  }
}

/** A rule for a path; `more` stands in its block. */
export const rule = (path: string, capabilities: string, more = '') =>
  `path "${path}" {\n  capabilities = ${JSON.stringify(capabilities.split(' '))}\n  ${more}\n}\n`

export const APP = 'database/creds/app'

/** Credentials of the one role there is, where this holds. */
export const given = (condition: string) => rule(APP, 'read', `condition = ${JSON.stringify(condition)}`)

export const creds = ({ api }: Pick<Holder, 'api'>) => api('GET', APP)

export const statusOf = async (asked: ReturnType<TestBroker['api']>): Promise<number> => (await asked).status
