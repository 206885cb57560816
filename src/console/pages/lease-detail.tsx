import { Alert, Anchor, Group, SimpleGrid, Stack, Text } from '@mantine/core'
import { Link, useLocation, useParams } from 'react-router'
import { Countdown } from '../components/countdown.tsx'
import { Facts } from '../components/facts.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { Section } from '../components/section.tsx'
import { StateBadge } from '../components/state-badge.tsx'
import { Time } from '../components/time.tsx'
import { useSession } from '../session.ts'
import { targetName } from '../target-name.ts'
import {
  holderName,
  type LeaseDetail,
  limitWords,
  reasonWords,
  revocabilityWords,
  ruleWords,
  stateMeans,
} from './leases/lease.ts'
import { LeaseActions } from './leases/lease-actions.tsx'
import { LeaseReceipt, LeaseTimeline } from './leases/lease-history.tsx'
import { useLease } from './leases/lease-queries.ts'

/** One lease: what it is, who has it and what let them, what happened to it, and the proof of its end. */
export default function LeasePage() {
  const { id = '' } = useParams()
  const { state } = useLocation() as { state: { back?: string } | null }
  const query = useLease(id)
  return (
    <Page title="Lease" actions={query.data && <LeaseActions lease={query.data} />}>
      <Anchor component={Link} to={`/leases${state?.back ?? ''}`} size="sm">
        Back to the leases
      </Anchor>
      <Loaded query={query}>{(lease) => <Contents lease={lease} />}</Loaded>
    </Page>
  )
}

function Contents({ lease }: { lease: LeaseDetail }) {
  return (
    <Stack gap="md">
      <Group gap="sm">
        <StateBadge state={lease.state} stuck={lease.stuck} />
        <Text size="sm">{stateMeans(lease)}</Text>
      </Group>
      {lease.last_error !== '' && lease.state !== 'revoked' && (
        <Alert
          color="red"
          variant="light"
          title={`Ending it failed ${times(lease.attempts)}; the last time because`}
        >
          <span className="said">{lease.last_error}</span>
        </Alert>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <What lease={lease} />
        <Who lease={lease} />
        <LeaseTimeline steps={lease.timeline} />
        <LeaseReceipt lease={lease} />
      </SimpleGrid>
    </Stack>
  )
}

const times = (count: number): string => (count === 1 ? 'once' : `${count} times`)

function What({ lease }: { lease: LeaseDetail }) {
  const live = lease.state === 'active' || lease.state === 'issuing'
  return (
    <Section title="What">
      <Facts
        rows={[
          ['Account', lease.account],
          ['Target', `${targetName(lease)} (${lease.engine})`],
          ['Role', lease.path],
          ['Time left', live ? <Countdown key="left" until={lease.expires_at} over="ends now" /> : null],
          ['Issued', <Time key="issued" at={lease.issued_at} />],
          ['Renewed', lease.renewed_at && <Time key="renewed" at={lease.renewed_at} />],
          [live ? 'Ends' : 'Was to end', <Time key="ends" at={lease.expires_at} />],
          ['At the latest', <Time key="latest" at={lease.hard_expires_at} />],
          ['Limited', limitWords(lease.limited_by)],
          ['Revocation', revocabilityWords(lease.revocability)],
          ['Ending because', reasonWords(lease.end_reason)],
          ['Access ended', lease.access_ended_at && <Time key="over" at={lease.access_ended_at} />],
          ['Lease id', lease.lease_id],
        ]}
      />
    </Section>
  )
}

function Who({ lease }: { lease: LeaseDetail }) {
  const { holder, grant_id: grant } = lease
  const rule = ruleWords(lease.allowed_by)
  const { may } = useSession()
  return (
    <Section title="Who, and what allowed it">
      <Facts
        rows={[
          ['Holder', holder?.display_name || holderName(lease)],
          ['Kind', holder?.kind],
          ['Signed in at', holder?.mount],
          ['Subject', holder?.subject],
          ['Groups', holder?.groups?.join(', ')],
          ['Principal', lease.principal],
          ['Token accessor', holder?.accessor],
          ['Allowed by', rule.policy],
          ['Rule', rule.pattern],
          [
            'Request',
            grant && (
              <Anchor key="grant" component={Link} to={`/requests/${grant}`} size="sm">
                {grant}
              </Anchor>
            ),
          ],
        ]}
      />
      <Group gap="md" mt="sm">
        {may.leases && lease.principal && (
          <Anchor component={Link} size="sm" to={`/leases?principal=${encodeURIComponent(lease.principal)}`}>
            All their leases
          </Anchor>
        )}
        {may.audit && (
          <Anchor component={Link} size="sm" to={`/audit?lease_id=${encodeURIComponent(lease.lease_id)}`}>
            On the audit log
          </Anchor>
        )}
      </Group>
    </Section>
  )
}
