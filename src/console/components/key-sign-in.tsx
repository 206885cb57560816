import { Anchor, Button, Text } from '@mantine/core'
import { IconKey } from '@tabler/icons-react'
import { elsewhere, type KeyMethod, signInByKey } from '../security-key.ts'
import { useAction } from '../use-action.ts'
import { ErrorState } from './error-state.tsx'

/** Signs in by a security key, also while the identity provider does not answer. */
export function KeySignIn({ method, only }: { method: KeyMethod; only: boolean }) {
  const signIn = useAction(() => signInByKey(method.mount))
  const origin = elsewhere(method)
  if (origin !== undefined) return <KeysElsewhere origin={origin} />
  return (
    <>
      <Button
        fullWidth
        variant="default"
        leftSection={<IconKey size={16} aria-hidden />}
        loading={signIn.running}
        onClick={() => signIn.run()}
      >
        Sign in with a security key
        {only ? '' : ` of ${method.description || method.mount.replace(/\/$/, '')}`}
      </Button>
      {signIn.error !== undefined && <ErrorState error={signIn.error} title="Not signed in" />}
    </>
  )
}

/** Browsers bind a key to a name, and this page was opened by another. */
export function KeysElsewhere({ origin }: { origin: string }) {
  return (
    <Text size="sm">
      Security keys work at{' '}
      <Anchor href={`${origin}/ui/`} underline="always" size="sm">
        {origin}/ui/
      </Anchor>
    </Text>
  )
}
