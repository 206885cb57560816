import { Text, Timeline } from '@mantine/core'
import { Time } from '../../components/time.tsx'
import type { GrantEvent } from '../../grant-types.ts'
import { eventWords, withLocalTimes } from '../../words.ts'

/** What happened to a request, in order. */
export function Events({ events }: { events: readonly GrantEvent[] }) {
  return (
    <Timeline bulletSize={14} lineWidth={2} active={events.length} role="list" aria-label="What happened">
      {events.map(({ number, at, event, actor, from, to, detail }) => (
        <Timeline.Item key={number} role="listitem">
          <Text size="sm">
            <strong>{actor?.display_name ?? 'By itself'}</strong>: {eventWords(event)}
          </Text>
          <Text size="sm" c="dimmed">
            <Time at={at} />
            {from !== to && `, now ${to.replaceAll('_', ' ')}`}
          </Text>
          <Detail detail={detail} />
        </Timeline.Item>
      ))}
    </Timeline>
  )
}

/** What the page says elsewhere, or only machines read. */
const NOT_FOR_PEOPLE = /hash|_id$|^narrowed_from$|^who$|^capacity$|^ticket_state$|^lane$|^version$/

/** What people wrote with it, and what the broker noted in a word. */
function Detail({ detail }: { detail: Record<string, unknown> }) {
  const lines = Object.entries(detail ?? {}).filter(
    (entry): entry is [string, string | number | boolean] =>
      ['string', 'number', 'boolean'].includes(typeof entry[1]) &&
      entry[1] !== '' &&
      !NOT_FOR_PEOPLE.test(entry[0]),
  )
  return lines.map(([name, value]) => (
    <Text key={name} size="sm" c="dimmed" className="said">
      {name.replaceAll('_', ' ')}: {withLocalTimes(String(value))}
    </Text>
  ))
}
