import { Anchor, Button, Popover, Stack, Text } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { IconUser } from '@tabler/icons-react'
import { Link } from 'react-router'
import { askSession } from '../api.ts'
import { forgetDraft } from '../ask-draft.ts'
import { type Session, setSession } from '../session.ts'
import { useAction } from '../use-action.ts'
import { Countdown } from './countdown.tsx'
import { ErrorState } from './error-state.tsx'

/** Who is signed in, for how long, and the way out. */
export function Account({ session }: { session: Session }) {
  return (
    <Popover position="bottom-end" width={280} trapFocus returnFocus shadow="md">
      <Popover.Target>
        <Button
          variant="subtle"
          color="gray"
          c="var(--mantine-color-text)"
          px="xs"
          leftSection={<IconUser size={16} aria-hidden />}
          aria-label={`Account of ${session.display_name}`}
        >
          <Text span truncate maw={{ base: 110, sm: 220 }} size="sm">
            {session.display_name}
          </Text>
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label="Account">
        <Contents session={session} />
      </Popover.Dropdown>
    </Popover>
  )
}

type SignedOut = { kept_token: boolean }

const KEPT = 'You are signed out. Your leases go on, and end at their own times.'

function Contents({ session }: { session: Session }) {
  const leave = useAction(
    (revoke?: boolean) => askSession<SignedOut>('', { method: 'DELETE', query: { revoke } }),
    {
      onDone: ({ kept_token: kept }) => {
        forgetDraft()
        setSession(null)
        // The server counts again: a lease may have come or gone since the page was told.
        if (kept && session.signed_in_by !== 'token') notifications.show({ message: KEPT })
      },
    },
  )
  const { ends_leases: leases } = session
  const ends = leases > 0 && session.signed_in_by !== 'token'
  const words = leases === 1 ? 'lease' : `${leases} leases`
  return (
    <Stack gap="xs">
      <Text size="sm" className="said">
        {session.subject || session.display_name}
        {session.mount && `, ${session.mount}`}
      </Text>
      {session.groups.length > 0 && (
        <Text size="sm" c="dimmed" className="said">
          In {session.groups.join(', ')}
        </Text>
      )}
      <Countdown until={session.session_expires_at} label="Session ends in" />
      {session.kind === 'human' && (
        <Anchor component={Link} to="/security-keys" size="sm" underline="always">
          Security keys
        </Anchor>
      )}
      {ends ? (
        <>
          <Button variant="default" loading={leave.running} onClick={() => leave.run()}>
            Sign out, keep my {words}
          </Button>
          <Button variant="default" c="var(--mantine-color-error)" onClick={() => leave.run(true)}>
            Sign out and end my {words}
          </Button>
        </>
      ) : (
        <Button variant="default" loading={leave.running} onClick={() => leave.run()}>
          Sign out
        </Button>
      )}
      {leave.error !== undefined && <ErrorState error={leave.error} />}
    </Stack>
  )
}
