import { Accordion, Alert, Anchor, Group, List, SimpleGrid, Stack, Text } from '@mantine/core'
import { useState } from 'react'
import { Link } from 'react-router'
import { Deadlines } from '../../components/deadlines.tsx'
import { Facts } from '../../components/facts.tsx'
import { GrantBadges } from '../../components/grant-badges.tsx'
import { Loaded } from '../../components/loaded.tsx'
import { PlanFacts } from '../../components/plan-facts.tsx'
import { Section } from '../../components/section.tsx'
import { SignatureNote, useSigned } from '../../components/signature.tsx'
import { Time } from '../../components/time.tsx'
import type { Grant } from '../../grant-types.ts'
import { useGrant } from '../../grants.ts'
import { useSession } from '../../session.ts'
import { decisionWords, endWords, voterWords } from '../../words.ts'
import { Events } from '../request/events.tsx'
import { GrantLeases } from '../request/leases.tsx'
import { Notices } from '../request/notices.tsx'
import { checklistLines, type DoneReview, outcomeWords } from './review.ts'
import { ReviewForm } from './review-form.tsx'

/** One grant to be reviewed: what was asked for, what was done with it, and what came of the review. */
export function ReviewOf({ id }: { id: string }) {
  const query = useGrant(id)
  return <Loaded query={query}>{(grant) => <Contents grant={grant} />}</Loaded>
}

function Contents({ grant }: { grant: Grant }) {
  const mayReview = grant.allowed.includes('review')
  const why = grant.refused.review
  const isDue = grant.state === 'review_due' || grant.state === 'review_overdue'
  const [logOpen, setLogOpen] = useState(false)
  const [eventsRead, setEventsRead] = useState(0)
  return (
    <Stack gap="md">
      <Group gap="sm">
        <GrantBadges grant={grant} />
        <Deadlines grant={grant} />
        <Anchor component={Link} to={`/requests/${grant.id}`} size="sm">
          The whole request
        </Anchor>
      </Group>
      <Notices grant={grant} />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <Section title="What was asked for">
          <PlanFacts grant={grant} />
        </Section>
        <WhatWasDone grant={grant} />
      </SimpleGrid>
      <Log
        grant={grant}
        onToggle={(open) => {
          setLogOpen(open)
          setEventsRead(grant.events.length)
        }}
      />
      {(grant.reviews as DoneReview[]).map((review) => (
        <Done key={review.number} review={review} />
      ))}
      {isDue && grant.ratification === 'due' && (
        <Alert variant="light" color="yellow" title="Not ratified yet">
          Access was given without an approver. Until somebody ratifies it, or refuses to, it can only be
          flagged.
        </Alert>
      )}
      {mayReview && (
        <Section title="Your review">
          <ReviewForm grant={grant} hasRead={logOpen || eventsRead === grant.events.length} />
        </Section>
      )}
      {isDue && !mayReview && (
        <Alert variant="light" color="gray" title="Somebody else has to review this">
          {why ??
            'A reviewer is neither who asked nor anybody who approved or witnessed, and is named by the policy.'}
        </Alert>
      )}
    </Stack>
  )
}

/** All that is on record of the request. Folded, since a reviewer has to have opened it. */
function Log({ grant, onToggle }: { grant: Grant; onToggle: (open: boolean) => void }) {
  const { may } = useSession()
  return (
    <Section title="The log of the request">
      <Accordion variant="contained" order={3} onChange={(opened) => onToggle(opened !== null)}>
        <Accordion.Item value="log">
          <Accordion.Control>{grant.events.length} events, from the ask on</Accordion.Control>
          <Accordion.Panel>
            <Events events={grant.events} />
          </Accordion.Panel>
        </Accordion.Item>
      </Accordion>
      {may.audit && (
        <Anchor component={Link} to={`/audit?grant=${grant.id}`} size="sm">
          Everything about it on the audit log
        </Anchor>
      )}
    </Section>
  )
}

function WhatWasDone({ grant }: { grant: Grant }) {
  const approvers = grant.votes.filter(({ current }) => current)
  return (
    <Section title="What was done">
      <Facts
        rows={[
          ['Began', grant.started_at && <Time key="began" at={grant.started_at} />],
          ['Over', grant.ended_at && <Time key="over" at={grant.ended_at} />],
          ['Because', endWords(grant.end_reason)],
          [
            'Voted',
            approvers.map((vote) => `${voterWords(vote)} ${decisionWords(vote.decision)}`).join(', '),
          ],
          ['More time', grant.extensions.filter(({ state }) => state === 'approved').length || ''],
          ['Statements', statementsOf(grant)],
        ]}
      />
      {grant.leases.length === 0 ? (
        <Text size="sm">No account was made under it.</Text>
      ) : (
        <GrantLeases grant={grant} />
      )}
    </Section>
  )
}

/** Counted only where a session went through the gateway. */
function statementsOf({ leases }: Grant): string {
  const counts = leases.map((lease) => (lease as { statements?: unknown }).statements)
  const known = counts.filter((count): count is number => typeof count === 'number')
  return known.length === 0
    ? 'not counted: the sessions went to the target directly'
    : String(known.reduce((sum, count) => sum + count, 0))
}

/** A review as it was signed. */
function Done({ review }: { review: DoneReview }) {
  const checked = useSigned<Record<string, unknown>>(review.jws, 'leasehold-review+jws')
  return (
    <Section title={`Review ${review.number}: ${outcomeWords(review.outcome)}`}>
      <Facts
        rows={[
          ['By', review.reviewer?.display_name ?? ''],
          ['At', <Time key="at" at={review.at} />],
          ['Found', review.finding],
          ['Security case', review.case_id],
        ]}
      />
      <List size="sm">
        {checklistLines(review.checklist).map((line) => (
          <List.Item key={line}>{line}</List.Item>
        ))}
      </List>
      {review.jws === null && review.outcome !== 'reopened' && <Text size="sm">It is not signed.</Text>}
      {checked && <SignatureNote signature={checked.signature} />}
    </Section>
  )
}
