import {
  type BreakGlassPolicyRow,
  findBreakGlassPolicy,
  listBreakGlassPolicies,
  putBreakGlassPolicy,
  removeBreakGlassPolicy,
} from '../ledger/break-glass-policies.ts'
import { type Ledger, lockNamed } from '../ledger/db.ts'
import { hastenWaiting } from '../ledger/grant-listing.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { isObject } from '../lib/objects.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { destinationSecret, ticketCheckSecret } from './notify/destinations.ts'
import { type CheckedPolicy, checkPolicy, hiddenUrl, type Policy, policyOf } from './policies.ts'

/** The built-in secret store, as keys of policies are kept in it. */
type PolicySecrets = {
  put(name: string, text: Sensitive): Promise<unknown>
  get(name: string): Promise<{ text: Sensitive } | undefined>
}

export type PolicyBook = {
  /**
   * Writes a new version in the place of the one before. What waits for an answer under that one is void from here on;
   * access that was given goes on by the rules it was given under. A secret that is not given stays as it was, for a
   * destination of the same name and URL. Throws `invalid_request`, naming the field.
   */
  write(name: string, written: Readonly<Record<string, unknown>>): Promise<void>
  find(name: string): Promise<Policy | undefined>
  list(): Promise<Policy[]>
  remove(name: string): Promise<void>
}

const NAME = /^[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?$/i

export function createPolicyBook({
  ledger,
  secrets,
}: {
  ledger: Ledger
  secrets: PolicySecrets
}): PolicyBook {
  return {
    async write(name, written) {
      if (!NAME.test(name)) {
        throw new BrokerError(
          'invalid_request',
          'a policy name has 1 to 64 letters, digits, "_", "-" and "."',
        )
      }
      const before = await findBreakGlassPolicy(ledger, name)
      const { spec, secrets: given } = checkPolicy(withHiddenUrls(written, before && policyOf(before)))
      const id = newId()
      // Kept before they are named: what a crash leaves is sealed, and nothing names it.
      await keepSecrets(secrets, { id, spec, given, before })
      await ledger.transaction(async (db) => {
        await lockNamed(db, `break-glass policy ${name}`)
        await putBreakGlassPolicy(db, { id, name, spec })
        await hastenWaiting(db, name)
      })
    },
    async find(name) {
      const row = await findBreakGlassPolicy(ledger, name)
      return row && policyOf(row)
    },
    list: async () => (await listBreakGlassPolicies(ledger)).map(policyOf),
    remove: (name) =>
      ledger.transaction(async (db) => {
        await removeBreakGlassPolicy(db, name)
        await hastenWaiting(db, name)
      }),
  }
}

/** Who writes back what they have read means the address that they were not shown. */
function withHiddenUrls(
  written: Readonly<Record<string, unknown>>,
  before: Policy | undefined,
): Readonly<Record<string, unknown>> {
  if (!before || !Array.isArray(written.notify)) return written
  const notify = written.notify.map((one: unknown) => {
    if (!isObject(one)) return one
    const known = before.spec.notify.find(({ name }) => name === one.name)
    return known && hiddenUrl(known) === one.url ? { ...one, url: known.url } : one
  })
  return { ...written, notify }
}

async function keepSecrets(
  secrets: PolicySecrets,
  {
    id,
    spec,
    given,
    before,
  }: Pick<CheckedPolicy, 'spec'> & {
    id: string
    given: CheckedPolicy['secrets']
    before: BreakGlassPolicyRow | undefined
  },
): Promise<void> {
  const old = before && policyOf(before)
  const keep = async (name: string, text: string | undefined, oldName: string | undefined) => {
    const kept = text !== undefined ? sensitive(text) : oldName && (await secrets.get(oldName))?.text
    if (kept) await secrets.put(name, kept)
  }
  for (const { name, url } of spec.notify) {
    const isSame = old?.spec.notify.some((one) => one.name === name && one.url === url)
    const oldName = old && isSame ? destinationSecret(old.id, name) : undefined
    await keep(destinationSecret(id, name), given.notify.get(name), oldName)
  }
  const isSameCheck =
    old && spec.ticket_check_url !== '' && old.spec.ticket_check_url === spec.ticket_check_url
  await keep(ticketCheckSecret(id), given.ticketCheck, isSameCheck ? ticketCheckSecret(old.id) : undefined)
}
