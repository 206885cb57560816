import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { compactVerify, createLocalJWKSet, type JSONWebKeySet } from 'jose'
import { messageOf } from '../lib/errors.ts'
import { fileFault } from '../lib/file-fault.ts'
import { parsed, readKeys } from './jwks.ts'

/** Proofs of ended leases, checked as anyone may: with the public keys alone. */

export type Receipt = {
  iss: string
  lease_id: string
  account: string
  target: string
  reason: string
  issued_at: string
  ended_at: string
  steps: { step: string; at: string; evidence: Record<string, unknown> }[]
  residual: string[]
}

/** The receipt proves nothing: changed, signed by somebody else, or no receipt at all. */
export class ReceiptRefused extends Error {}

const TYPE = 'leasehold-receipt+jws'
/** A lease has ended when all four were done, in this order. */
const STEPS = ['disable', 'disconnect', 'remove', 'verify']

/** Throws `ReceiptRefused`, with the reason, unless one of the keys signed exactly this. */
export async function checkReceipt(
  jws: string,
  keys: JSONWebKeySet,
): Promise<{ receipt: Receipt; key: string }> {
  const verified = await compactVerify(jws, createLocalJWKSet(keys), { algorithms: ['EdDSA'] }).catch(
    (error) => {
      throw new ReceiptRefused(messageOf(error))
    },
  )
  const { typ, kid } = verified.protectedHeader
  if (typ !== TYPE)
    throw new ReceiptRefused(`it is signed, but not as a receipt (typ ${JSON.stringify(typ)})`)
  const receipt = JSON.parse(new TextDecoder().decode(verified.payload)) as Receipt
  const steps = Array.isArray(receipt.steps) ? receipt.steps.map(({ step }) => step) : []
  if (steps.join() !== STEPS.join()) {
    throw new ReceiptRefused(`it records the steps ${steps.join(', ') || 'none'}, not ${STEPS.join(', ')}`)
  }
  return { receipt, key: String(kid) }
}

const EXIT = { genuine: 0, refused: 1, unchecked: 2 } as const

/** `leasehold receipt verify`: prints what the receipt says, and answers the exit code. */
export async function verifyReceipt(
  file: string,
  { jwks, json }: { jwks: string; json: boolean },
  out: NodeJS.WritableStream,
  err: NodeJS.WritableStream,
): Promise<number> {
  try {
    const keys = await readKeys(jwks)
    const checked = await checkReceipt(jwsIn(await readReceipt(file)), keys)
    out.write(json ? `${JSON.stringify(checked.receipt, null, 2)}\n` : describe(checked))
    return EXIT.genuine
  } catch (error) {
    const refused = error instanceof ReceiptRefused
    err.write(refused ? `Not genuine: ${error.message}.\n` : `leasehold: ${messageOf(error)}\n`)
    return refused ? EXIT.refused : EXIT.unchecked
  }
}

const readReceipt = (file: string): Promise<string> =>
  file === '-'
    ? text(process.stdin)
    : readFile(file, 'utf8').catch((error) => {
        throw new Error(`${file} cannot be read: ${fileFault(error)}`)
      })

const JWS = /^[\w-]+\.[\w-]*\.[\w-]*$/

/** The bare receipt, or the whole answer of the API around it. */
function jwsIn(source: string): string {
  const answer = parsed(source) as { data?: { receipt?: unknown } } | null | undefined
  const jws = String(answer?.data?.receipt ?? source).trim()
  if (JWS.test(jws)) return jws
  throw new ReceiptRefused('it holds no receipt. Has the lease ended? There is one only then')
}

function describe({ receipt, key }: { receipt: Receipt; key: string }): string {
  const steps = receipt.steps.map(
    ({ step, at, evidence }) => `  ${step.padEnd(10)}  ${at}  ${shown(evidence)}`,
  )
  return `Genuine: signed by ${receipt.iss}, key ${key}.

  lease       ${receipt.lease_id}
  account     ${receipt.account} on ${receipt.target}
  issued      ${receipt.issued_at}
  ended       ${receipt.ended_at} (${receipt.reason})
${steps.join('\n')}
  residual    ${receipt.residual.join('; ') || 'none'}
`
}

const shown = (evidence: Record<string, unknown>): string =>
  Object.entries(evidence)
    .map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(' ') : String(value)}`)
    .join(', ')
