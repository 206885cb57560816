import { Anchor, Button, Card, Group, Stack, Text } from '@mantine/core'
import type { ReactNode } from 'react'
import { Link } from 'react-router'
import type { ShortGrant } from '../grant-types.ts'
import { askWords, listWords, openSets, ticketWords } from '../words.ts'
import { Deadlines } from './deadlines.tsx'
import { GrantBadges } from './grant-badges.tsx'

type Props = {
  grant: ShortGrant
  /** What to call the way to it. */
  open?: string
  children?: ReactNode
}

/** A request in a list: in a sentence, with its state and what is left of it. */
export function GrantCard({ grant, open, children }: Props) {
  return (
    <Card withBorder radius="md" p="sm" component="article" aria-label={askWords(grant)}>
      <Stack gap={6}>
        <Group justify="space-between" gap="xs">
          <GrantBadges grant={grant} />
          <Deadlines grant={grant} />
        </Group>
        <Anchor
          component={Link}
          to={`/requests/${grant.id}`}
          underline="hover"
          fw={600}
          className="said"
          c="var(--mantine-color-text)"
        >
          {askWords(grant)}
        </Anchor>
        {grant.plan.roles.map((role) => (
          <Text key={role.path} size="sm" c="dimmed" className="said" lineClamp={3}>
            {grant.plan.roles.length > 1 && `${role.name}: `}
            {role.privileges.join('; ')}
          </Text>
        ))}
        <Text size="sm" className="said" lineClamp={4}>
          {grant.reason}
        </Text>
        {grant.ticket !== '' && (
          <Text size="sm" c="dimmed" className="said">
            Ticket {grant.ticket}
            {`, ${ticketWords(grant.ticket_state)}`}
          </Text>
        )}
        {grant.state === 'pending' && (
          <Text size="sm" c="dimmed" className="said">
            Needs {grant.quorum.words}; {grant.quorum.approvers} of {grant.quorum.min_approvers} so far
            {mayStill(grant).length > 0 && `. May still vote: ${listWords(mayStill(grant))}`}
          </Text>
        )}
        {(open || children) && (
          <Group gap="xs" mt={4}>
            {open && (
              <Button
                component={Link}
                to={`/requests/${grant.id}`}
                aria-label={`${open}: ${askWords(grant)}`}
              >
                {open}
              </Button>
            )}
            {children}
          </Group>
        )}
      </Stack>
    </Card>
  )
}

const mayStill = ({ quorum }: ShortGrant): string[] => [
  ...new Set(openSets(quorum).flatMap(({ may_still_vote }) => may_still_vote)),
]
