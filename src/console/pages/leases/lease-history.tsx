import { Accordion, Code, List, Stack, Text, Timeline } from '@mantine/core'
import { Facts } from '../../components/facts.tsx'
import { Loading } from '../../components/loading.tsx'
import { Section } from '../../components/section.tsx'
import { SignatureNote, useSigned } from '../../components/signature.tsx'
import { Time } from '../../components/time.tsx'
import {
  evidenceLines,
  type LeaseDetail,
  type LeaseStep,
  type Receipt,
  reasonWords,
  stepWords,
} from './lease.ts'

/** What happened to a lease, step by step, as the ledger recorded it. */
export function LeaseTimeline({ steps }: { steps: readonly LeaseStep[] }) {
  return (
    <Section title="Steps">
      <Timeline bulletSize={14} lineWidth={2} active={steps.length}>
        {steps.map(({ at, what, detail }) => (
          <Timeline.Item key={`${what} ${at}`} title={stepWords(what)}>
            <Text size="sm" c="dimmed">
              <Time at={at} />
            </Text>
            <Evidence lines={evidenceLines(detail)} />
          </Timeline.Item>
        ))}
      </Timeline>
    </Section>
  )
}

function Evidence({ lines }: { lines: readonly string[] }) {
  return lines.map((line) => (
    <Text key={line} size="xs" style={{ overflowWrap: 'anywhere' }}>
      {line}
    </Text>
  ))
}

/** The signed proof of how and when access ended; before the end there is none. */
export function LeaseReceipt({ lease }: { lease: LeaseDetail }) {
  const checked = useSigned<Receipt>(lease.receipt, 'leasehold-receipt+jws')
  return (
    <Section title="Receipt">
      {lease.receipt === null && (
        <Text size="sm">
          There is none yet: it is signed once the account is proved gone
          {lease.state === 'revoked' ? ', and this lease ended without ever having had one' : ''}.
        </Text>
      )}
      {lease.receipt !== null && checked === undefined && <Loading rows={2} />}
      {lease.receipt !== null && checked && (
        <Stack gap="sm">
          <SignatureNote signature={checked.signature} />
          <Said receipt={checked.payload} />
          <Accordion variant="contained">
            <Accordion.Item value="jws">
              <Accordion.Control>As signed, to check elsewhere</Accordion.Control>
              <Accordion.Panel>
                <Code block style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
                  {lease.receipt}
                </Code>
              </Accordion.Panel>
            </Accordion.Item>
          </Accordion>
        </Stack>
      )}
    </Section>
  )
}

function Said({ receipt }: { receipt: Receipt }) {
  const residual = receipt.residual ?? []
  return (
    <>
      <Facts
        rows={[
          ['Account', receipt.account],
          ['Target', receipt.target],
          ['Ended because', reasonWords(receipt.reason)],
          ['Access ended', <Time key="at" at={receipt.ended_at} />],
          ['Steps proved', (receipt.steps ?? []).map(({ step }) => stepWords(step).toLowerCase()).join(', ')],
          ['Signed by', receipt.iss],
        ]}
      />
      <div>
        <Text size="sm" fw={600}>
          What may remain
        </Text>
        {residual.length === 0 ? (
          <Text size="sm">Nothing.</Text>
        ) : (
          <List size="sm">
            {residual.map((text) => (
              <List.Item key={text}>{text}</List.Item>
            ))}
          </List>
        )}
      </div>
    </>
  )
}
