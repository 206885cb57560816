import { Badge, Group, List, Text } from '@mantine/core'
import { durationWords } from '../clock.ts'
import type { ShortGrant } from '../grant-types.ts'
import { targetName } from '../target-name.ts'
import { ticketWords } from '../words.ts'
import { Facts } from './facts.tsx'
import { Time } from './time.tsx'

/** A request in words: who, what, on which target with which privileges, how long, why. */
export function PlanFacts({ grant }: { grant: ShortGrant }) {
  const { requester, plan } = grant
  return (
    <Facts
      rows={[
        ['Who', `${requester.display_name}, signed in as ${requester.subject} at ${requester.mount}`],
        ['What', <Roles key="roles" grant={grant} />],
        ['How long', `${durationWords(plan.duration_seconds)} from activation`],
        ['Used', usedWords(grant)],
        ['Why', grant.reason],
        ['Ticket', <Ticket key="ticket" grant={grant} />],
        ['Asked', <Time key="asked" at={grant.requested_at} />],
        ['Policy', `${grant.policy.name}, version ${grant.policy.version}`],
      ]}
    />
  )
}

/** How long access was there, of what was allowed; from its activation until its end was proved. */
const usedWords = ({ started_at, ended_at }: ShortGrant): string =>
  started_at && ended_at ? durationWords((Date.parse(ended_at) - Date.parse(started_at)) / 1_000) : ''

function Roles({ grant }: { grant: ShortGrant }) {
  return (
    <List size="sm" listStyleType="none" spacing={6} component="ul">
      {grant.plan.roles.map((role) => (
        <List.Item key={role.path}>
          <Group gap={6}>
            <Text span size="sm" fw={600}>
              {targetName(role)}
            </Text>
            {role.environment && (
              <Badge variant="default" radius="sm" tt="none">
                {role.environment}
              </Badge>
            )}
            <Text span size="sm" c="dimmed">
              {role.path}
            </Text>
          </Group>
          {role.privileges.length > 0 && <Text size="sm">{role.privileges.join('; ')}</Text>}
          {role.revocability !== 'immediate' && (
            <Text size="sm" c="dimmed">
              Ends{' '}
              {role.revocability === 'bounded'
                ? 'at the latest with the life of its credential'
                : 'only with its own expiry'}
            </Text>
          )}
        </List.Item>
      ))}
    </List>
  )
}

function Ticket({ grant: { ticket, ticket_state } }: { grant: ShortGrant }) {
  if (ticket === '') return 'none'
  return (
    <>
      {ticket}{' '}
      <Text span inherit c={ticket_state === 'unverified' ? 'var(--mantine-color-error)' : undefined}>
        ({ticketWords(ticket_state)})
      </Text>
    </>
  )
}
