import { Accordion, Anchor, Badge, Code, Group, Text } from '@mantine/core'
import { useState } from 'react'
import { Link } from 'react-router'
import { Facts } from '../../components/facts.tsx'
import { Time } from '../../components/time.tsx'
import { idOf } from '../leases/lease-queries.ts'
import { eventWords, type LoggedEvent } from './event.ts'

/** Events of the log, a line each that opens to all that is recorded of it. */
export function EventList({ events }: { events: readonly LoggedEvent[] }) {
  const [opened, setOpened] = useState<string[]>([])
  return (
    <Accordion multiple variant="contained" value={opened} onChange={setOpened} aria-label="Events">
      {events.map((event) => {
        const key = `${event.writer}-${event.seq}`
        return (
          <Accordion.Item key={key} value={key}>
            <Accordion.Control>
              <Line event={event} />
            </Accordion.Control>
            <Accordion.Panel>{opened.includes(key) && <Details event={event} />}</Accordion.Panel>
          </Accordion.Item>
        )
      })}
    </Accordion>
  )
}

function Line({ event }: { event: LoggedEvent }) {
  const { who, did, outcome, because } = eventWords(event)
  return (
    <Group gap="xs" component="span">
      <Text component="span" size="sm" c="dimmed">
        <Time at={event.at} />
      </Text>
      <Text component="span" size="sm" fw={600} style={{ overflowWrap: 'anywhere' }}>
        {who}
      </Text>
      <Text component="span" size="sm" style={{ overflowWrap: 'anywhere' }}>
        {did}
      </Text>
      {outcome === 'refused' && (
        <Badge component="span" color="red" variant="light" radius="sm" tt="none">
          refused
        </Badge>
      )}
      {because && (
        <Text component="span" size="sm" className="said">
          {because}
        </Text>
      )}
    </Group>
  )
}

function Details({ event }: { event: LoggedEvent }) {
  const { leaseId, grantId, facts } = eventWords(event)
  return (
    <>
      <Facts rows={facts} />
      <Group gap="md" my="xs">
        {leaseId && (
          <Anchor component={Link} to={`/leases/${idOf(leaseId)}`} size="sm">
            Its lease
          </Anchor>
        )}
        {grantId && (
          <Anchor component={Link} to={`/requests/${grantId}`} size="sm">
            Its request
          </Anchor>
        )}
      </Group>
      <Code block style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
        {typeof event.body === 'string' ? event.body : JSON.stringify(event.body, null, 2)}
      </Code>
    </>
  )
}
