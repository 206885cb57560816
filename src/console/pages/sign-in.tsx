import { Alert, Button, Card, Center, Divider, PasswordInput, Stack, Text, Title } from '@mantine/core'
import { IconInfoCircle } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { askSession } from '../api.ts'
import { ErrorState } from '../components/error-state.tsx'
import { KeySignIn } from '../components/key-sign-in.tsx'
import { Loaded } from '../components/loaded.tsx'
import type { KeyMethod } from '../security-key.ts'
import { type Session, setSession, signInByOidc } from '../session.ts'
import { useAction } from '../use-action.ts'

type Methods = {
  token: boolean
  oidc: { mount: string; path: string; description: string; default_role: string }[]
  webauthn: KeyMethod[]
}

/** Shown at any address to who is not signed in; the way back is to the same address. */
export function SignIn() {
  const methods = useQuery({
    queryKey: ['methods'],
    queryFn: () => askSession<Methods>('/methods'),
    refetchInterval: false,
  })
  useEffect(() => {
    document.title = 'Sign in · Leasehold'
  }, [])
  return (
    <Center component="main" mih="100vh" p="sm">
      <Card withBorder w="100%" maw={400} p="lg" radius="md">
        <Stack>
          <Title order={1} size="h3">
            Sign in to Leasehold
          </Title>
          <Loaded query={methods} rows={2}>
            {({ oidc, webauthn, token }) => (
              <>
                {oidc.map((method) => (
                  <OidcButton key={method.mount} method={method} only={oidc.length === 1} />
                ))}
                {webauthn.map((method) => (
                  <KeySignIn key={method.mount} method={method} only={webauthn.length === 1} />
                ))}
                {oidc.length + webauthn.length > 0 && token && <Divider label="or" labelPosition="center" />}
                {token && <TokenForm second={oidc.length + webauthn.length > 0} />}
              </>
            )}
          </Loaded>
        </Stack>
      </Card>
    </Center>
  )
}

function OidcButton({ method, only }: { method: Methods['oidc'][number]; only: boolean }) {
  const leave = useAction(() => signInByOidc({ mount: method.mount }))
  const name = method.description || method.mount.replace(/\/$/, '')
  return (
    <>
      <Button fullWidth loading={leave.running} onClick={() => leave.run()}>
        {only && !method.description ? 'Sign in with your identity provider' : `Sign in with ${name}`}
      </Button>
      {leave.error !== undefined && <ErrorState error={leave.error} />}
    </>
  )
}

function TokenForm({ second }: { second: boolean }) {
  const [token, setToken] = useState('')
  const signIn = useAction(() => askSession<Session>('', { method: 'POST', body: { token: token.trim() } }), {
    onDone: (session) => setSession(session),
  })
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        signIn.run()
      }}
    >
      <Stack gap="sm">
        {second && (
          <Alert role="note" variant="light" color="gray" icon={<IconInfoCircle aria-hidden />} p="xs">
            <Text size="sm">With a token one sees and manages. Asking and voting need a person's login.</Text>
          </Alert>
        )}
        <PasswordInput
          label="Token"
          value={token}
          onChange={(event) => setToken(event.currentTarget.value)}
          autoComplete="off"
          required
          visibilityToggleButtonProps={{ 'aria-label': 'Show what is typed' }}
        />
        {signIn.error !== undefined && <ErrorState error={signIn.error} title="Not signed in" />}
        <Button type="submit" variant={second ? 'default' : 'filled'} loading={signIn.running}>
          Sign in with a token
        </Button>
      </Stack>
    </form>
  )
}
