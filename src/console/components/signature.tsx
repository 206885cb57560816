import { Alert } from '@mantine/core'
import { IconShieldCheck, IconShieldQuestion, IconShieldX } from '@tabler/icons-react'
import { type UseQueryResult, useQuery } from '@tanstack/react-query'
import type { JSONWebKeySet } from 'jose'
import { type Checked, readSigned, signatureWords } from '../signed.ts'

/** The public keys that receipts, checkpoints and reviews are checked with. */
const useKeys = (enabled: boolean): UseQueryResult<JSONWebKeySet> =>
  useQuery({ queryKey: ['jwks'], queryFn: readKeys, staleTime: 3_600_000, enabled })

/** That answer is a bare JWKS, as any checker of signatures expects it, and not in an envelope. */
async function readKeys(): Promise<JSONWebKeySet> {
  const response = await fetch('/ui/v1/sys/leasehold/jwks', {
    credentials: 'same-origin',
    headers: { 'Leasehold-Console': '1' },
  })
  if (!response.ok) throw new Error('The keys to check signatures with could not be read')
  return (await response.json()) as JSONWebKeySet
}

/** What a JWS of ours says, checked with the broker's keys; undefined until that is known. */
export function useSigned<Payload>(jws: string | null, typ: string): Checked<Payload> | undefined {
  const keys = useKeys(jws !== null)
  const { data } = useQuery({
    queryKey: ['signed', typ, jws],
    queryFn: async () =>
      (jws && keys.data && (await readSigned<Payload>(jws, { keys: keys.data, typ }))) || null,
    enabled: jws !== null && keys.data !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
    refetchInterval: false,
  })
  return data ?? undefined
}

const LOOKS = {
  valid: { color: 'green', Icon: IconShieldCheck },
  invalid: { color: 'red', Icon: IconShieldX },
  unchecked: { color: 'gray', Icon: IconShieldQuestion },
} as const

/** Whether what stands beside it can be relied on, in words. */
export function SignatureNote({ signature }: { signature: Checked<unknown>['signature'] }) {
  const { color, Icon } = LOOKS[signature]
  return (
    <Alert color={color} variant="light" icon={<Icon aria-hidden />} py="xs">
      {signatureWords(signature)}
    </Alert>
  )
}
