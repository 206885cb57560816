import { Button, Stack } from '@mantine/core'
import { useState } from 'react'
import { Link } from 'react-router'
import { EmptyState } from '../components/empty-state.tsx'
import { GrantCard } from '../components/grant-card.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { Section } from '../components/section.tsx'
import type { ShortGrant } from '../grant-types.ts'
import { useGrants } from '../grants.ts'
import { OwnGrant } from './access/own-grant.tsx'
import { ActionBar } from './request/action-bar.tsx'

const OPEN = ['pending', 'approved', 'activating', 'active', 'suspended', 'ending', 'ending_stuck']

/** What the person signed in has asked for, and what can be done with it. */
export default function AccessPage() {
  const mine = useGrants({ view: 'mine' })
  // Its credentials are on the screen: when it ends, it says so there before it moves.
  const [showing, setShowing] = useState<string>()
  return (
    <Page
      title="My access"
      actions={
        <Button component={Link} to="/access/ask">
          Ask for access
        </Button>
      }
    >
      <Loaded query={mine}>
        {({ requests }) => {
          const isOpen = ({ id, state }: ShortGrant) => id === showing || OPEN.includes(state)
          const open = requests.filter(isOpen)
          const over = requests.filter((grant) => !isOpen(grant))
          return (
            <Stack gap="md">
              {requests.length === 0 && (
                <EmptyState title="You have not asked for anything">
                  What you ask for shows here, with its approval, its countdown and the way to end it.
                </EmptyState>
              )}
              {open.map((grant) => (
                <GrantCard key={grant.id} grant={grant}>
                  <Stack gap="xs">
                    <OwnGrant grant={grant} onShowing={(shown) => setShowing(shown ? grant.id : undefined)} />
                    <ActionBar grant={grant} />
                  </Stack>
                </GrantCard>
              ))}
              {over.length > 0 && (
                <Section title="Earlier">
                  {over.map((grant) => (
                    <GrantCard key={grant.id} grant={grant} />
                  ))}
                </Section>
              )}
            </Stack>
          )
        }}
      </Loaded>
    </Page>
  )
}
