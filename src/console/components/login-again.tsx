import { Button, Text } from '@mantine/core'
import { signInByKey } from '../security-key.ts'
import { signInByOidc, useSession } from '../session.ts'
import { useAction } from '../use-action.ts'

/**
 * A fresh login, back to this very page: at the identity provider, or by a key for who came by one, who need not leave it.
 * Those with a token have to.
 */
export function LoginAgain({
  purpose,
  onLeave,
}: {
  purpose: string
  /** The page is about to go: the last chance to put aside what is filled in on it. */
  onLeave?: () => void
}) {
  const { oidc, webauthn } = useSession()
  const leave = useAction(() => {
    if (webauthn) return signInByKey(webauthn.mount, { again: true })
    onLeave?.()
    return signInByOidc({ ...oidc, fresh: true })
  })
  if (!oidc && !webauthn) {
    return (
      <Text size="sm">
        This needs a person's login: sign out, and sign in with your identity provider {purpose}.
      </Text>
    )
  }
  return (
    <>
      <Button size="xs" loading={leave.running} onClick={() => leave.run()}>
        Log in again {purpose}
      </Button>
      {leave.error !== undefined && <Text size="sm">{String((leave.error as Error).message)}</Text>}
    </>
  )
}
