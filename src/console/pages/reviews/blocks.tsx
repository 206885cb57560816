import { Anchor, Button, Card, Group, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'react-router'
import { ask } from '../../api.ts'
import { ApiError } from '../../api-error.ts'
import { ConfirmByTyping } from '../../components/confirm-by-typing.tsx'
import { EmptyState } from '../../components/empty-state.tsx'
import { Loaded } from '../../components/loaded.tsx'
import { PlainList } from '../../components/plain-list.tsx'
import { Time } from '../../components/time.tsx'
import { queryClient } from '../../query-client.ts'
import type { Block } from './review.ts'

const nameOf = ({ requester, requester_id }: Block): string => requester?.display_name || requester_id

/** An empty list is not found, in the dialect. */
function none(error: unknown): { blocks: Block[] } {
  if (error instanceof ApiError && error.status === 404) return { blocks: [] }
  throw error
}

/** People who may not ask for break-glass until a security officer has settled what was found. */
export function Blocks() {
  const [lifting, setLifting] = useState<Block>()
  const query = useQuery({
    queryKey: ['grants', 'blocks'],
    queryFn: ({ signal }) =>
      ask<{ blocks: Block[] }>('break-glass/blocks', { query: { list: true }, signal }).catch(none),
  })
  return (
    <>
      {lifting && <Lift block={lifting} onClose={() => setLifting(undefined)} />}
      <Loaded query={query} rows={2}>
        {({ blocks }) =>
          blocks.length === 0 ? (
            <EmptyState title="Nobody is blocked">
              Whoever is found to have misused access may ask for none until a security officer lifts that
              here.
            </EmptyState>
          ) : (
            <PlainList label="Blocked people">
              {blocks.map((block) => (
                <BlockCard key={block.grant_id} block={block} onLift={() => setLifting(block)} />
              ))}
            </PlainList>
          )
        }
      </Loaded>
    </>
  )
}

function BlockCard({ block, onLift }: { block: Block; onLift: () => void }) {
  return (
    <Card component="li" withBorder padding="sm">
      <Group justify="space-between" align="flex-start">
        <div style={{ minWidth: 0 }}>
          <Text fw={600} className="said">
            {nameOf(block)}
          </Text>
          <Text size="sm" className="said">
            {block.reason}
          </Text>
          <Text size="sm" c="dimmed">
            Since <Time at={block.since} />,{' '}
            <Anchor component={Link} to={`/reviews?id=${block.grant_id}`} size="sm" underline="always">
              after this request
            </Anchor>
          </Text>
        </div>
        <Button variant="default" size="xs" onClick={onLift}>
          Lift the block of {nameOf(block)}
        </Button>
      </Group>
    </Card>
  )
}

function Lift({ block, onClose }: { block: Block; onClose: () => void }) {
  return (
    <ConfirmByTyping
      opened
      onClose={onClose}
      title={`Lift the block of ${nameOf(block)}`}
      expected={nameOf(block)}
      confirmLabel="Lift the block"
      onConfirm={async () => {
        const query = { grant_id: block.grant_id }
        await ask(`break-glass/blocks/${encodeURIComponent(block.requester_id)}`, { method: 'DELETE', query })
        void queryClient.invalidateQueries({ queryKey: ['grants'] })
      }}
    >
      <Text size="sm">
        They may ask for break-glass again once no other block of theirs is left. What was found stays on
        record.
      </Text>
    </ConfirmByTyping>
  )
}
