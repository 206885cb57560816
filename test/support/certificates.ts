import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** PEM texts of a certificate and its private key. */
type Certificate = { cert: string; key: string }
export type Authority = Certificate & {
  issue(name: string): Certificate
  /** For a maker of security keys, with the names that WebAuthn asks for. */
  issueForKeys(name: string): Certificate
}

const der = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts)
  const length = content.length
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content])
  const size = Buffer.of(length >> 8, length & 0xff)
  return Buffer.concat([Buffer.of(tag, 0x82), size, content])
}
const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts)
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'))
const octets = (content: Uint8Array) => der(0x04, content)
const bits = (content: Uint8Array) => der(0x03, Buffer.of(0), content)
const TRUE = der(0x01, Buffer.of(0xff))

const ECDSA_WITH_SHA256 = sequence(oid('2a8648ce3d040302'))
const COMMON_NAME = '550403'
const COUNTRY = '550406'
const ORGANIZATION = '55040a'
const UNIT = '55040b'
const BASIC_CONSTRAINTS = '551d13'
const SUBJECT_ALT_NAME = '551d11'
const DAY_MS = 86_400_000

const partOf = (kind: string, tag: number, text: string) =>
  der(0x31, sequence(oid(kind), der(tag, Buffer.from(text))))
const nameOf = (name: string) => sequence(partOf(COMMON_NAME, 0x0c, name))
const keyMakerOf = (name: string) =>
  sequence(
    partOf(COUNTRY, 0x13, 'SE'),
    partOf(ORGANIZATION, 0x0c, 'maker of keys'),
    partOf(UNIT, 0x0c, 'Authenticator Attestation'),
    partOf(COMMON_NAME, 0x0c, name),
  )

const timeOf = (ms: number) =>
  der(0x18, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]|\.\d+Z/g, '')}Z`))

type Party = { name: string; privateKey: KeyObject }

/** X.509 v3, P-256, valid from yesterday until tomorrow, for `localhost` and the loopback addresses. */
function certificateOf(subject: Buffer, publicKey: KeyObject, issuer: Party, isAuthority: boolean): string {
  const names = sequence(
    der(0x82, Buffer.from('localhost')),
    der(0x87, Buffer.of(127, 0, 0, 1)),
    der(0x87, Buffer.from([...Array(15).fill(0), 1])),
  )
  const extensions = sequence(
    sequence(oid(BASIC_CONSTRAINTS), TRUE, octets(isAuthority ? sequence(TRUE) : sequence())),
    sequence(oid(SUBJECT_ALT_NAME), octets(names)),
  )
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.of(1), randomBytes(15)),
    ECDSA_WITH_SHA256,
    nameOf(issuer.name),
    sequence(timeOf(Date.now() - DAY_MS), timeOf(Date.now() + DAY_MS)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  )
  const signed = sequence(body, ECDSA_WITH_SHA256, bits(sign('sha256', body, issuer.privateKey)))
  const lines = signed.toString('base64').replace(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}

const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }) as string

/** A certificate authority made in memory, so that tests need neither openssl nor a package. */
export function newAuthority(name = 'test authority'): Authority {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuer = { name, privateKey: own.privateKey }
  const issue = (subject: Buffer): Certificate => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    return { cert: certificateOf(subject, pair.publicKey, issuer, false), key: pem(pair.privateKey) }
  }
  return {
    cert: certificateOf(nameOf(name), own.publicKey, issuer, true),
    key: pem(own.privateKey),
    issue: (subject) => issue(nameOf(subject)),
    issueForKeys: (subject) => issue(keyMakerOf(subject)),
  }
}
