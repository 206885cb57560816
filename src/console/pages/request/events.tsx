import { Text, Timeline } from '@mantine/core'
import { durationWords } from '../../clock.ts'
import { Time } from '../../components/time.tsx'
import type { GrantEvent } from '../../grant-types.ts'
import { eventWords, isEndReason, listWords, withLocalTimes } from '../../words.ts'

type Props = {
  events: readonly GrantEvent[]
  /** Of a drill, which is there to see how long each step takes: when it began. */
  since?: string
}

/** What happened to a request, in order. */
export function Events({ events, since }: Props) {
  return (
    <Timeline bulletSize={14} lineWidth={2} active={events.length} role="list" aria-label="What happened">
      {events.map(({ number, at, event, actor, from, to, detail }) => (
        <Timeline.Item key={number} role="listitem">
          <Text size="sm">
            <strong>{actor?.display_name ?? 'By itself'}</strong>: {eventWords(event)}
            {event === 'escalate' && setsIn(detail)}
          </Text>
          <Text size="sm" c="dimmed">
            <Time at={at} />
            {since !== undefined && `, ${afterWords(since, at)}`}
            {from !== to && `, now ${to.replaceAll('_', ' ')}`}
          </Text>
          <Detail detail={detail} />
        </Timeline.Item>
      ))}
    </Timeline>
  )
}

function setsIn({ sets }: Record<string, unknown>): string {
  const names = Array.isArray(sets) ? sets.filter((name) => typeof name === 'string') : []
  return names.length > 0 ? `, ${listWords(names)}` : ''
}

function afterWords(since: string, at: string): string {
  const seconds = (Date.parse(at) - Date.parse(since)) / 1_000
  return seconds < 1 ? 'at once' : `${durationWords(seconds)} after the ask`
}

/** What the page says elsewhere, or only machines read. */
const NOT_FOR_PEOPLE = /hash|_id$|^narrowed_from$|^who$|^capacity$|^ticket_state$|^lane$|^version$/

/** What people wrote with it, and what the broker noted in a word. */
function Detail({ detail }: { detail: Record<string, unknown> }) {
  const lines = Object.entries(detail ?? {}).filter(
    (entry): entry is [string, string | number | boolean] =>
      ['string', 'number', 'boolean'].includes(typeof entry[1]) &&
      entry[1] !== '' &&
      !NOT_FOR_PEOPLE.test(entry[0]) &&
      // The event says it already.
      !(entry[0] === 'reason' && isEndReason(String(entry[1]))),
  )
  return lines.map(([name, value]) => (
    <Text key={name} size="sm" c="dimmed" className="said">
      {name.replaceAll('_', ' ')}: {withLocalTimes(String(value))}
    </Text>
  ))
}
