import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** A security key made of software, with a browser in front of it: both do as a test says, also what no real one would. */
export type Authenticator = {
  /** What `navigator.credentials.create` answers, as JSON; the key that it made is shown from then on. */
  create(options: CreationOptions, twist?: Twist): Answer
  /** What `navigator.credentials.get` answers, by the newest key unless another is named. */
  get(options: RequestOptions, twist?: Twist & { credential?: string }): Answer
  /** What it counts next; 0 for one that does not count. */
  counter: number
}

type CreationOptions = { challenge: string; rp: { id: string }; user: { id: string } }
type RequestOptions = { challenge: string; rpId?: string }

// biome-ignore lint/suspicious/noExplicitAny: tests take it apart
type Answer = any

/** What to do otherwise than asked for. */
export type Twist = {
  challenge?: string
  origin?: string
  rpId?: string
  type?: string
  /** Whether its owner was there, and was verified. */
  present?: boolean
  verified?: boolean
  /** Can be on several devices, and is. */
  eligible?: boolean
  backedUp?: boolean
  counter?: number
  aaguid?: string
  /** How long the id of the key is that it makes. */
  idBytes?: number
  userHandle?: string
  /** Says nothing of its model, or signs that itself, or with its maker's certificate. */
  statement?: 'none' | 'self' | { key: KeyObject; certificates: Buffer[] }
  /** Signs with a key of its own making. */
  forged?: boolean
}

export const AAGUID = '2fc0579f-8113-47ea-b116-bb5a8db9202a'

const FLAGS = { present: 0x01, verified: 0x04, eligible: 0x08, backedUp: 0x10, attested: 0x40 }

export function openAuthenticator(origin = 'https://leasehold.example'): Authenticator {
  const kept = new Map<string, { key: KeyObject; user: string }>()
  let newest = ''
  const self: Authenticator = {
    counter: 1,
    create({ challenge, rp, user }, twist = {}) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const id = randomBytes(twist.idBytes ?? 32)
      const data = clientData({ type: 'webauthn.create', challenge, origin }, twist)
      const aaguid = Buffer.from((twist.aaguid ?? AAGUID).replaceAll('-', ''), 'hex')
      const attested = Buffer.concat([aaguid, uint(id.length, 2), id, coseOf(publicKey)])
      const authData = Buffer.concat([
        authenticatorData(rp.id, counted(self, twist), twist, FLAGS.attested),
        attested,
      ])
      const attestation = attestationObject(authData, data, privateKey, twist)
      newest = text(id)
      kept.set(newest, { key: privateKey, user: user.id })
      return answer(newest, {
        clientDataJSON: text(data),
        attestationObject: text(attestation),
        transports: ['usb', 'carrier-pigeon'],
      })
    },
    get({ challenge, rpId = '' }, twist = {}) {
      const id = twist.credential ?? newest
      const { key, user } = kept.get(id) ?? fail(id)
      const data = clientData({ type: 'webauthn.get', challenge, origin }, twist)
      const authData = authenticatorData(rpId, counted(self, twist), twist, 0)
      const signer = twist.forged ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey : key
      return answer(id, {
        clientDataJSON: text(data),
        authenticatorData: text(authData),
        signature: text(sign('sha256', Buffer.concat([authData, sha256(data)]), signer)),
        userHandle: twist.userHandle ?? user,
      })
    },
  }
  return self
}

const fail = (id: string): never => {
  throw new Error(`no key ${id}`)
}

const text = (bytes: Buffer): string => bytes.toString('base64url')
const sha256 = (bytes: Buffer | string): Buffer => createHash('sha256').update(bytes).digest()

const answer = (id: string, response: object): Answer => ({
  ...{ id, rawId: id, type: 'public-key', clientExtensionResults: {} },
  response,
})

function counted(self: Authenticator, { counter }: Twist): number {
  if (counter !== undefined) return counter
  if (self.counter === 0) return 0
  self.counter += 1
  return self.counter - 1
}

function clientData(said: { type: string; challenge: string; origin: string }, twist: Twist): Buffer {
  const { type = said.type, challenge = said.challenge, origin = said.origin } = twist
  return Buffer.from(JSON.stringify({ type, challenge, origin, crossOrigin: false }))
}

function authenticatorData(rpId: string, counter: number, twist: Twist, more: number): Buffer {
  const { present = true, verified = true, eligible = false, backedUp = false } = twist
  const flags = Object.entries({ present, verified, eligible, backedUp })
    .filter(([, isSet]) => isSet)
    .reduce((sum, [name]) => sum | FLAGS[name as keyof typeof FLAGS], more)
  return Buffer.concat([sha256(twist.rpId ?? rpId), Buffer.from([flags]), uint(counter, 4)])
}

function attestationObject(
  authData: Buffer,
  data: Buffer,
  own: KeyObject,
  { statement = 'none' }: Twist,
): Buffer {
  if (statement === 'none') return cbor({ fmt: 'none', attStmt: {}, authData })
  const signer = statement === 'self' ? own : statement.key
  const sig = sign('sha256', Buffer.concat([authData, sha256(data)]), signer)
  const x5c = statement === 'self' ? {} : { x5c: statement.certificates }
  return cbor({ fmt: 'packed', attStmt: { alg: -7, sig, ...x5c }, authData })
}

/** An ES256 key as COSE has it. */
function coseOf(key: KeyObject): Buffer {
  const { x = '', y = '' } = key.export({ format: 'jwk' })
  const [a, b] = [x, y].map((part) => Buffer.from(part, 'base64url'))
  return cbor(
    new Map<unknown, unknown>([
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, a],
      [-3, b],
    ]),
  )
}

function uint(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntBE(value, 0, bytes)
  return buffer
}

/** As much of CBOR as keys speak. */
function cbor(value: unknown): Buffer {
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value)
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value])
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(cbor)])
  const entries = value instanceof Map ? [...value] : Object.entries(value as object)
  return Buffer.concat([head(5, entries.length), ...entries.flat().map(cbor)])
}

function head(major: number, length: number): Buffer {
  if (length < 24) return Buffer.from([(major << 5) | length])
  const [bytes, code] = length < 0x100 ? [1, 24] : [2, 25]
  return Buffer.concat([Buffer.from([(major << 5) | code]), uint(length, bytes)])
}
