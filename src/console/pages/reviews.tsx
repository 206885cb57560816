import { Anchor, Tabs } from '@mantine/core'
import { Link, useSearchParams } from 'react-router'
import { Page } from '../components/page.tsx'
import { Blocks } from './reviews/blocks.tsx'
import { DoneReviews, DueReviews } from './reviews/review-list.tsx'
import { ReviewOf } from './reviews/review-page.tsx'

const TABS = ['due', 'done', 'blocks'] as const

/** What was done under break-glass and has to be looked at by somebody else; which one is in the address. */
export default function ReviewsPage() {
  const [address, setAddress] = useSearchParams()
  const id = address.get('id')
  if (id) {
    return (
      <Page title="Review">
        <Anchor component={Link} to="/reviews" size="sm">
          Back to the reviews
        </Anchor>
        <ReviewOf key={id} id={id} />
      </Page>
    )
  }
  const shown = TABS.find((tab) => tab === address.get('show')) ?? 'due'
  return (
    <Page title="Reviews">
      <Tabs
        value={shown}
        onChange={(tab) => setAddress(tab === 'due' || tab === null ? {} : { show: tab })}
        keepMounted={false}
      >
        <Tabs.List aria-label="Reviews" mb="md">
          <Tabs.Tab value="due">To review</Tabs.Tab>
          <Tabs.Tab value="done">Done</Tabs.Tab>
          <Tabs.Tab value="blocks">Blocked</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="due">
          <DueReviews />
        </Tabs.Panel>
        <Tabs.Panel value="done">
          <DoneReviews />
        </Tabs.Panel>
        <Tabs.Panel value="blocks">
          <Blocks />
        </Tabs.Panel>
      </Tabs>
    </Page>
  )
}
