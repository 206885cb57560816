import { Alert, Button, Group, List, Stack } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { notifications } from '@mantine/notifications'
import { useState } from 'react'
import { LoginAgain } from '../../components/login-again.tsx'
import { ACTIONS, type ActionSpec, isAboutLogin, isInQuestion } from '../../grant-actions.ts'
import type { Extension, ShortGrant } from '../../grant-types.ts'
import { withLocalTimes } from '../../words.ts'
import { ActionDialog } from './action-dialog.tsx'

/** What who is signed in may do to the request now, and why not what they may not. */
export function ActionBar({
  grant,
  extensions = [],
}: {
  grant: ShortGrant
  extensions?: readonly Extension[]
}) {
  const [chosen, setChosen] = useState<ActionSpec>()
  const [opened, { open, close }] = useDisclosure(false)
  const allowed = ACTIONS.filter(({ action }) => grant.allowed.includes(action))
  const refused = ACTIONS.flatMap((spec) => {
    const why = grant.refused[spec.action]
    return why && isInQuestion(spec, grant, extensions) ? [{ spec, why }] : []
  })
  const aboutLogin = refused.some(({ why }) => isAboutLogin(why))
  return (
    <Stack gap="sm">
      {allowed.length > 0 && (
        <Group gap="xs">
          {allowed.map((spec, at) => (
            <Button
              key={spec.action}
              variant={at === 0 && !spec.danger ? 'filled' : 'default'}
              c={spec.danger ? 'var(--mantine-color-error)' : undefined}
              onClick={() => {
                setChosen(spec)
                open()
              }}
            >
              {spec.label}
            </Button>
          ))}
        </Group>
      )}
      {refused.length > 0 && (
        <Alert role="note" variant="light" color="gray" title="Not possible for you now" p="sm">
          <List size="sm" spacing={4}>
            {refused.map(({ spec, why }) => (
              <List.Item key={spec.action}>
                {spec.label}: {withLocalTimes(why)}
              </List.Item>
            ))}
          </List>
          {aboutLogin && (
            <Group mt="xs">
              <LoginAgain purpose="to vote" />
            </Group>
          )}
        </Alert>
      )}
      <ActionDialog
        opened={opened}
        spec={chosen}
        grant={grant}
        extension={extensions.find(({ state }) => state === 'pending')}
        onClose={close}
        onDone={({ done }) => {
          close()
          notifications.show({ message: done, color: 'green' })
        }}
      />
    </Stack>
  )
}
