import { Alert, Button, Group, Stack, Text } from '@mantine/core'
import { useState } from 'react'
import { ApiError } from '../../api-error.ts'
import type { Credential } from '../../commands.ts'
import { ErrorState } from '../../components/error-state.tsx'
import { LoginAgain } from '../../components/login-again.tsx'
import { isAboutLogin } from '../../grant-actions.ts'
import type { GrantAction, ShortGrant } from '../../grant-types.ts'
import { act } from '../../grants.ts'
import { useAction } from '../../use-action.ts'
import { listWords, targetsOf, withLocalTimes } from '../../words.ts'
import { CredentialsDialog } from './credentials-dialog.tsx'
import { ExtendDialog } from './extend-dialog.tsx'

type Given = { credentials: Credential[] }

/** What a requester does with a request of theirs: activate it, collect again, ask for more time. */
export function OwnGrant({
  grant,
  onShowing,
}: {
  grant: ShortGrant
  /** Whether credentials are on the screen: until they are not, this has to stay where it is. */
  onShowing?: (showing: boolean) => void
}) {
  // Here and nowhere else, until the dialog closes.
  const [given, setGiven] = useState<Credential[]>()
  const [extending, setExtending] = useState(false)
  const collect = useAction((action: 'activate' | 'collect') => act<Given>(grant.id, action), {
    onDone: ({ credentials }) => {
      setGiven(credentials)
      onShowing?.(true)
    },
  })
  const may = (action: GrantAction) => grant.allowed.includes(action)
  const why = grant.refused.activate ?? grant.refused.collect ?? grant.refused.extend
  const targets = listWords(targetsOf(grant))
  return (
    <Stack gap="xs">
      <Group gap="xs">
        {may('activate') && (
          <Button loading={collect.running} onClick={() => collect.run('activate')}>
            Activate access to {targets}
          </Button>
        )}
        {may('collect') && (
          <Button loading={collect.running} onClick={() => collect.run('collect')}>
            Collect new credentials for {targets}
          </Button>
        )}
        {may('extend') && (
          <Button variant="default" onClick={() => setExtending(true)}>
            Ask for more time
          </Button>
        )}
      </Group>
      {grant.state === 'activating' && (
        <Alert color="blue" variant="light" p="sm" role="status">
          The accounts are being made.
        </Alert>
      )}
      {why && (
        <Group gap="xs">
          <Text size="sm" className="said">
            Not now: {withLocalTimes(why)}
          </Text>
          {isAboutLogin(why) && <LoginAgain purpose="to activate" />}
        </Group>
      )}
      {collect.error !== undefined && (
        <ErrorState error={collect.error} title="No credentials were given out">
          {!(why && isAboutLogin(why)) &&
            collect.error instanceof ApiError &&
            isAboutLogin(collect.error.message) && <LoginAgain purpose="to activate" />}
        </ErrorState>
      )}
      <CredentialsDialog
        credentials={given}
        grant={grant}
        onOver={() => setGiven([])}
        onClose={() => {
          setGiven(undefined)
          onShowing?.(false)
        }}
      />
      <ExtendDialog opened={extending} grant={grant} onClose={() => setExtending(false)} />
    </Stack>
  )
}
