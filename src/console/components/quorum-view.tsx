import { Badge, Group, List, Progress, Stack, Text } from '@mantine/core'
import type { Grant, Vote } from '../grant-types.ts'
import { canHelp, decisionWords, listWords, tellingSets, voidWords } from '../words.ts'
import { Time } from './time.tsx'

/** What approval takes, how much of it is there, who voted and who still may. */
export function QuorumView({ grant: { state, quorum, votes } }: { grant: Grant }) {
  return (
    <Stack gap="sm">
      <Group gap={6}>
        <Text size="sm">Needs {quorum.words}</Text>
        <Badge variant="light" radius="sm" tt="none" color={quorum.met ? 'green' : 'yellow'}>
          {quorum.met ? 'enough' : `${quorum.approvers} of ${quorum.min_approvers} people`}
        </Badge>
      </Group>
      {tellingSets(quorum).map((set) => (
        <div key={set.set}>
          <Group justify="space-between" gap="xs">
            <Text size="sm" fw={600}>
              {set.set}
            </Text>
            <Text size="sm">
              {set.have} of {set.needed}
            </Text>
          </Group>
          <Progress
            value={set.needed === 0 ? 100 : Math.min(100, (100 * set.have) / set.needed)}
            color={set.have >= set.needed ? 'green' : 'yellow'}
            aria-label={`${set.set}: ${set.have} of ${set.needed}`}
            size="sm"
          />
          {state === 'pending' && !quorum.met && canHelp(quorum, set) && set.may_still_vote.length > 0 && (
            <Text size="sm" c="dimmed" className="said">
              May still vote: {listWords(set.may_still_vote)}
            </Text>
          )}
        </div>
      ))}
      {votes.length === 0 ? (
        <Text size="sm" c="dimmed">
          Nobody has voted yet.
        </Text>
      ) : (
        <List size="sm" spacing={6} listStyleType="none">
          {votes.map((vote) => (
            <List.Item key={`${vote.round}-${vote.number}`}>
              <VoteLine vote={vote} />
            </List.Item>
          ))}
        </List>
      )}
    </Stack>
  )
}

function VoteLine({ vote }: { vote: Vote }) {
  const gone = voidWords(vote)
  return (
    <>
      <Text span size="sm" td={gone ? 'line-through' : undefined}>
        <strong>{vote.voter.display_name}</strong> {decisionWords(vote.decision)}
        {vote.sets.length > 0 && ` for ${listWords(vote.sets)}`}, <Time at={vote.cast_at} clock />
      </Text>
      {gone && (
        <Text span size="sm" c="dimmed">
          {' '}
          (void: {gone})
        </Text>
      )}
      {vote.comment !== '' && (
        <Text size="sm" c="dimmed" className="said">
          {vote.comment}
        </Text>
      )}
    </>
  )
}
