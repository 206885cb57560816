import { Button, Text } from '@mantine/core'
import { signInByOidc, useSession } from '../session.ts'
import { useAction } from '../use-action.ts'

/** A fresh login at the identity provider, back to this very page. Those with a token have to leave it first. */
export function LoginAgain({
  purpose,
  onLeave,
}: {
  purpose: string
  /** The page is about to go: the last chance to put aside what is filled in on it. */
  onLeave?: () => void
}) {
  const { oidc } = useSession()
  const leave = useAction(() => {
    onLeave?.()
    return signInByOidc({ ...oidc, fresh: true })
  })
  if (!oidc) {
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
