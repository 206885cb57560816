import { Button, Text } from '@mantine/core'
import { signInByOidc, useSession } from '../session.ts'
import { useAction } from '../use-action.ts'

/** A fresh login at the identity provider, back to this very page. Those with a token have to leave it first. */
export function LoginAgain({ purpose }: { purpose: string }) {
  const { oidc } = useSession()
  const leave = useAction(() => signInByOidc({ ...oidc, fresh: true }))
  if (!oidc) return <Text size="sm">Sign out and sign in with your identity provider {purpose}.</Text>
  return (
    <>
      <Button size="xs" loading={leave.running} onClick={() => leave.run()}>
        Log in again {purpose}
      </Button>
      {leave.error !== undefined && <Text size="sm">{String((leave.error as Error).message)}</Text>}
    </>
  )
}
