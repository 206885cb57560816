import type { Access } from '../breakglass/access.ts'
import type { Act } from '../breakglass/actions.ts'
import type { Requests } from '../breakglass/requests.ts'
import { BrokerError } from '../lib/errors.ts'
import { requestReply, viewerOf } from './break-glass-caller.ts'
import { type Decoded, defaulted, type Fields, int, required, text } from './fields.ts'
import { type Call, handle, type Route } from './route.ts'

export type Parts = { requests: Requests; grantAccess: Access }

export const VERSION = { version: int } satisfies Fields
export const COMMENTED = { ...VERSION, comment: defaulted(text, '') } satisfies Fields
export const REASON = { ...VERSION, reason: required(text, 'missing reason') } satisfies Fields
export const SEEN = {
  ...COMMENTED,
  plan_hash: required(text, 'missing plan_hash: what you have seen'),
} satisfies Fields

const MAX_TEXT_CHARACTERS = 2_000

/** Each answers the request as it is after it. */
export function action<F extends Fields>(
  { requests }: Pick<Parts, 'requests'>,
  name: string,
  fields: F,
  run: (act: Act, fields: Decoded<F>, call: Call<F>) => Promise<void>,
  options: Parameters<typeof handle>[2] = {},
): Route {
  return {
    path: `requests/:id/${name}`,
    on: {
      update: handle(
        fields,
        async (call) => {
          const viewer = await viewerOf(call)
          checkTexts(call.fields)
          const { version } = call.fields as { version?: number }
          await run({ ...viewer, grantId: call.capture('id'), version }, call.fields, call)
          return requestReply(requests, call.capture('id'), viewer)
        },
        options,
      ),
    },
  }
}

/** What people write is bounded, whichever field they write it in. */
export function checkTexts(fields: object): void {
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'string' && value.length > MAX_TEXT_CHARACTERS) {
      throw refused(name, `must have at most ${MAX_TEXT_CHARACTERS} characters`)
    }
  }
}

export const refused = (field: string, what: string): BrokerError =>
  new BrokerError('invalid_request', `Field validation failed: field "${field}" ${what}`)

export const present = (field: string, value: string): string => {
  if (value.trim() === '') throw refused(field, 'is required')
  return value
}
