import { Anchor, Group, SimpleGrid, Stack } from '@mantine/core'
import { Link, useParams } from 'react-router'
import { Deadlines } from '../components/deadlines.tsx'
import { GrantBadges } from '../components/grant-badges.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { PlanFacts } from '../components/plan-facts.tsx'
import { QuorumView } from '../components/quorum-view.tsx'
import { Section } from '../components/section.tsx'
import type { Grant } from '../grant-types.ts'
import { useGrant } from '../grants.ts'
import { useSession } from '../session.ts'
import { listWords, targetsOf } from '../words.ts'
import { OwnGrant } from './access/own-grant.tsx'
import { ActionBar } from './request/action-bar.tsx'
import { EscalationSteps } from './request/escalation.tsx'
import { Events } from './request/events.tsx'
import { Extensions } from './request/extensions.tsx'
import { GrantLeases } from './request/leases.tsx'
import { Notices } from './request/notices.tsx'

export default function RequestPage() {
  const { id = '' } = useParams()
  const grant = useGrant(id)
  const title = grant.data
    ? `${grant.data.requester.display_name}: access to ${listWords(targetsOf(grant.data))}`
    : 'Request'
  return (
    <Page title={title}>
      <Loaded query={grant}>{(found) => <Request grant={found} />}</Loaded>
    </Page>
  )
}

function Request({ grant }: { grant: Grant }) {
  const { principal_id } = useSession()
  const mine = grant.requester.id === principal_id
  return (
    <Stack gap="md">
      <Anchor component={Link} to={mine ? '/access' : '/'} size="sm">
        {mine ? 'Back to my access' : 'Back to the approvals'}
      </Anchor>
      <Group gap="sm">
        <GrantBadges grant={grant} />
        <Deadlines grant={grant} />
      </Group>
      <Notices grant={grant} />
      {mine && <OwnGrant grant={grant} />}
      <ActionBar grant={grant} extensions={grant.extensions} />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <Section title="What is asked for">
          <PlanFacts grant={grant} />
        </Section>
        <Section title="Approval">
          <QuorumView grant={grant} />
          <EscalationSteps grant={grant} />
        </Section>
        {grant.leases.length > 0 && (
          <Section title="Accounts">
            <GrantLeases grant={grant} />
          </Section>
        )}
        {grant.extensions.length > 0 && (
          <Section title="More time">
            <Extensions extensions={grant.extensions} />
          </Section>
        )}
        <Section title="What happened">
          <Events events={grant.events} {...(grant.lane === 'drill' && { since: grant.requested_at })} />
        </Section>
      </SimpleGrid>
    </Stack>
  )
}
