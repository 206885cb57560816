import type {
  AuthenticationResponseJSON,
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
  RegistrationResponseJSON,
  VerifiedAuthenticationResponse,
  VerifiedRegistrationResponse,
} from '@simplewebauthn/server'
import type { WebauthnKey } from '../../ledger/webauthn-keys.ts'
import { CHALLENGE_SECONDS } from './challenge.ts'
import type { WebauthnConfig } from './config.ts'

/** The two ceremonies of WebAuthn with the terms of a mount. Whatever is cryptography or CBOR is the library's. */

/** It takes half a second of a processor to load, and most processes never see a key. */
const library = () => import('@simplewebauthn/server')
const helpers = () => import('@simplewebauthn/server/helpers')

/** What a browser answered with, as it came: the library looks at every part of it. */
export type Answered = Readonly<Record<string, unknown>>

const MAX_ANSWER_BYTES = 16 * 1_024

/** No key and no browser answers so. */
export const isTooLong = (answered: Answered): boolean =>
  Buffer.byteLength(JSON.stringify(answered)) > MAX_ANSWER_BYTES

export type Enrolled = NonNullable<VerifiedRegistrationResponse['registrationInfo']>
export type Shown = VerifiedAuthenticationResponse['authenticationInfo']

const TIMEOUT_MS = CHALLENGE_SECONDS * 1_000

/** Once we want to know the model, the key has to say it in a statement that it signs. */
const wantsStatement = (config: WebauthnConfig): boolean =>
  config.allowed_aaguids.length > 0 || config.attestation_ca_pem.length > 0

export const creationOptions = async (
  config: WebauthnConfig,
  {
    challenge,
    user,
    keys,
  }: {
    challenge: Uint8Array<ArrayBuffer>
    user: { id: Uint8Array<ArrayBuffer>; name: string; displayName: string }
    keys: readonly Pick<WebauthnKey, 'credentialId'>[]
  },
): Promise<PublicKeyCredentialCreationOptionsJSON> =>
  (await library()).generateRegistrationOptions({
    rpID: config.rp_id,
    rpName: config.rp_name,
    challenge,
    userID: user.id,
    userName: user.name,
    userDisplayName: user.displayName,
    timeout: TIMEOUT_MS,
    attestationType: wantsStatement(config) ? 'direct' : 'none',
    excludeCredentials: keys.map(({ credentialId }) => ({ id: credentialId })),
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    ...(config.require_hardware_bound && { preferredAuthenticatorType: 'securityKey' as const }),
  })

export const requestOptions = async (
  config: WebauthnConfig,
  challenge: Uint8Array<ArrayBuffer>,
): Promise<PublicKeyCredentialRequestOptionsJSON> =>
  (await library()).generateAuthenticationOptions({
    rpID: config.rp_id,
    challenge,
    timeout: TIMEOUT_MS,
    userVerification: 'required',
  })

const termsOf = (config: WebauthnConfig) => ({
  expectedOrigin: config.origins,
  expectedRPID: config.rp_id,
  requireUserVerification: true,
})

/** What was enrolled, and by which challenge: that is the caller's to judge. Throws for all that is not as it has to be. */
export async function verifyEnrolment(
  config: WebauthnConfig,
  answered: Answered,
): Promise<{ enrolled: Enrolled; challenge: string }> {
  const { verifyRegistrationResponse } = await library()
  let challenge = ''
  const { verified, registrationInfo } = await verifyRegistrationResponse({
    ...termsOf(config),
    response: answered as unknown as RegistrationResponseJSON,
    expectedChallenge: (said) => {
      challenge = said
      return true
    },
  })
  if (!verified) throw new Error('the statement of the key is not good')
  if (wantsStatement(config)) await checkStatement(config, registrationInfo)
  return { enrolled: registrationInfo, challenge }
}

async function checkStatement(
  { attestation_ca_pem: authorities }: WebauthnConfig,
  { fmt, attestationObject }: Enrolled,
): Promise<void> {
  if (fmt === 'none') throw new Error('the key does not say what model it is')
  if (authorities.length === 0) return
  const { convertCertBufferToPEM, decodeAttestationObject, validateCertificatePath } = await helpers()
  const certificates = decodeAttestationObject(attestationObject).get('attStmt').get('x5c') ?? []
  if (certificates.length === 0) throw new Error('the key has no certificate of its maker')
  await validateCertificatePath(certificates.map(convertCertBufferToPEM), [...authorities])
}

/**
 * That the key itself has signed a challenge that `accepts` takes, for one of our pages, its owner verified. Its counter is the caller's
 * to judge: one that was forged must not look like one of a copied key. Throws for all that is not as it has to be.
 */
export async function verifyShown(
  config: WebauthnConfig,
  answered: Answered,
  key: Pick<WebauthnKey, 'credentialId' | 'publicKey'>,
  accepts: (challenge: string) => Promise<boolean>,
): Promise<Shown> {
  const { verifyAuthenticationResponse } = await library()
  const { verified, authenticationInfo } = await verifyAuthenticationResponse({
    ...termsOf(config),
    response: answered as unknown as AuthenticationResponseJSON,
    expectedChallenge: accepts,
    credential: { id: key.credentialId, publicKey: new Uint8Array(key.publicKey), counter: 0 },
  })
  if (!verified) throw new Error('the signature is not that of the key')
  return authenticationInfo
}
