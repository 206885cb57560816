import { about } from '../audit/request.ts'
import type { ControlGroups } from '../breakglass/control-group.ts'
import type { Wrapping } from '../identity/wrapping.ts'
import { BrokerError } from '../lib/errors.ts'
import { collected, refuseControlled } from './control-group-calls.ts'
import { defaulted, type Fields, text } from './fields.ts'
import { type Answer, type Endpoint, handle, handleOpen, type OpenCall, type Route } from './route.ts'
import { shownWrapInfo, wrappingDetails } from './wrapped.ts'

const TOKEN_FIELDS = { token: defaulted(text, '') } satisfies Fields
type TokenCall = OpenCall<typeof TOKEN_FIELDS>

/** Wrapped answers: making one of anything, and what may be done with a wrapping token; relative to `sys/`. */
export function sysWrappingRoutes(wrapping: Wrapping, controlGroups: ControlGroups): Route[] {
  const lookUp = async (call: TokenCall): Promise<Answer> => {
    const found = await wrapping.lookup(wrappingToken(call))
    const { ttlSeconds, createdAt, creationPath } = found
    about({ details: wrappingDetails(found) })
    return {
      data: {
        creation_ttl: ttlSeconds,
        creation_time: createdAt.toISOString(),
        creation_path: creationPath,
      },
    }
  }
  // It needs no proof, and is on record all the same: a token that is looked at may have been stolen.
  const lookup: Endpoint = { ...handleOpen(TOKEN_FIELDS, lookUp), byWrappingToken: true }
  return [
    {
      path: 'wrapping/wrap',
      on: {
        update: handle(
          {},
          async ({ parameters, wrapTtlSeconds }) => {
            if (wrapTtlSeconds !== undefined) return { data: parameters }
            throw new BrokerError('invalid_request', 'endpoint requires response wrapping to be used')
          },
          { anyFields: true },
        ),
      },
    },
    {
      path: 'wrapping/unwrap',
      // What was taken stays taken, also when this answer gets lost: part of it may have been read.
      on: {
        update: byWrappingToken(async (call) => {
          const given = await collected({ wrapping, controlGroups }, call, wrappingToken(call))
          if (given) return given
          const { body, principalId } = await wrapping.unwrap(wrappingToken(call), (taken) =>
            about({ details: wrappingDetails(taken) }),
          )
          return { verbatim: body, keptFor: principalId }
        }),
      },
    },
    {
      path: 'wrapping/rewrap',
      on: {
        update: byWrappingToken(async (call) => {
          await refuseControlled({ wrapping, controlGroups }, wrappingToken(call))
          const info = await wrapping.rewrap(wrappingToken(call), (from, to) =>
            about({ details: { ...wrappingDetails(to), rewrapped_accessor: from.accessor } }),
          )
          call.onUndelivered(() => wrapping.drop(info.token))
          return { wrapInfo: shownWrapInfo(info) }
        }),
      },
    },
    { path: 'wrapping/lookup', on: { read: lookup, update: lookup } },
  ]
}

/** For the holder of the wrapping token, who needs no other, or for a caller with one that policy lets do this. */
const byWrappingToken = (run: (call: TokenCall) => Promise<Answer>): Endpoint => ({
  ...handleOpen(TOKEN_FIELDS, run),
  proof: 'token',
  byWrappingToken: true,
})

/** The one that is named, or else the client token. A text that is none is refused as one there is not. */
const wrappingToken = ({ fields, token }: TokenCall): string => fields.token || token?.reveal() || ''
