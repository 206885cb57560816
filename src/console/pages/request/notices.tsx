import { Alert, List, Stack } from '@mantine/core'
import { IconInfoCircle } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import { Time } from '../../components/time.tsx'
import type { Grant } from '../../grant-types.ts'
import { changesOf } from '../../words.ts'

/** What has to be seen before anything else on the page. */
export function Notices({ grant }: { grant: Grant }) {
  const changes = changesOf(grant)
  return (
    <Stack gap="xs">
      {grant.stuck_since && (
        <Notice title="The end is not proved" color="red">
          Access was to be over and the target has not confirmed it since <Time at={grant.stuck_since} />.
        </Notice>
      )}
      {changes.length > 0 && (
        <Notice title="Changed since it was asked">
          <List size="sm">
            {changes.map((change) => (
              <List.Item key={change}>{change}</List.Item>
            ))}
          </List>
        </Notice>
      )}
      {grant.lane === 'sealed' && (
        <Notice title="Sealed lane">
          Access without an approver: a witness is enough, and it has to be ratified afterwards.
        </Notice>
      )}
      {grant.lane === 'drill' && (
        <Notice title="Drill" color="blue">
          This is practice: it goes the whole way, and opens nothing.
        </Notice>
      )}
      {grant.ticket_state === 'unverified' && (
        <Notice title="Ticket not verified">
          The incident system gave no answer. The review has to check it.
        </Notice>
      )}
    </Stack>
  )
}

type NoticeProps = { title: string; color?: string; children: ReactNode }

const Notice = ({ title, color = 'yellow', children }: NoticeProps) => (
  <Alert role="note" color={color} variant="light" title={title} p="sm" icon={<IconInfoCircle aria-hidden />}>
    {children}
  </Alert>
)
