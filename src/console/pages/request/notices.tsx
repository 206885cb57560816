import { Alert, List, Stack } from '@mantine/core'
import { IconInfoCircle } from '@tabler/icons-react'
import { Time } from '../../components/time.tsx'
import type { Grant } from '../../grant-types.ts'
import { changesOf } from '../../words.ts'

/** What has to be seen before anything else on the page. */
export function Notices({ grant }: { grant: Grant }) {
  const changes = changesOf(grant)
  const notices: [string, string][] = []
  if (grant.lane === 'sealed')
    notices.push([
      'Sealed lane',
      'Access without an approver: a witness is enough, and it has to be ratified afterwards.',
    ])
  if (grant.lane === 'drill') notices.push(['Drill', 'This is practice.'])
  if (grant.ticket_state === 'unverified')
    notices.push(['Ticket not verified', 'The incident system gave no answer. The review has to check it.'])
  return (
    <Stack gap="xs">
      {grant.stuck_since && (
        <Alert
          role="note"
          color="red"
          variant="light"
          title="The end is not proved"
          p="sm"
          icon={<IconInfoCircle aria-hidden />}
        >
          Access was to be over and the target has not confirmed it since <Time at={grant.stuck_since} />.
        </Alert>
      )}
      {changes.length > 0 && (
        <Alert
          role="note"
          color="yellow"
          variant="light"
          title="Changed since it was asked"
          p="sm"
          icon={<IconInfoCircle aria-hidden />}
        >
          <List size="sm">
            {changes.map((change) => (
              <List.Item key={change}>{change}</List.Item>
            ))}
          </List>
        </Alert>
      )}
      {notices.map(([title, text]) => (
        <Alert
          role="note"
          key={title}
          color="yellow"
          variant="light"
          title={title}
          p="sm"
          icon={<IconInfoCircle aria-hidden />}
        >
          {text}
        </Alert>
      ))}
    </Stack>
  )
}
