import { Alert, Button, Group, Stack, Text } from '@mantine/core'
import { useState } from 'react'
import { ApiError } from '../../api-error.ts'
import { ErrorState } from '../../components/error-state.tsx'
import { LoginAgain } from '../../components/login-again.tsx'
import { isAboutLogin } from '../../grant-actions.ts'
import type { GrantAction, ShortGrant } from '../../grant-types.ts'
import { listWords, targetsOf, withLocalTimes } from '../../words.ts'
import { ExtendDialog } from './extend-dialog.tsx'
import { useCredentials } from './use-credentials.tsx'

/** What a requester does with a request of theirs: activate it, collect again, ask for more time. */
export function OwnGrant({
  grant,
  onShowing,
}: {
  grant: ShortGrant
  /** Whether credentials are on the screen: until they are not, this has to stay where it is. */
  onShowing?: (showing: boolean) => void
}) {
  const { collect, dialog } = useCredentials(grant, onShowing)
  const [extending, setExtending] = useState(false)
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
      {dialog}
      <ExtendDialog opened={extending} grant={grant} onClose={() => setExtending(false)} />
    </Stack>
  )
}
