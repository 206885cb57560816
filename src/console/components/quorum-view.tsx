import { Badge, Group, List, Progress, Stack, Text } from '@mantine/core'
import type { Grant, Quorum, QuorumPart, QuorumSet } from '../grant-types.ts'
import { canHelp, listWords, missingWords, partsOf, tellingParts } from '../words.ts'
import { VoteLine } from './vote-line.tsx'

/** What approval takes, how much of it is there, who voted and who still may. */
export function QuorumView({ grant: { state, lane, quorum, votes } }: { grant: Grant }) {
  const { tree, met } = quorum
  const isOpen = state === 'pending' && !met
  const missing = isOpen && tree && lane !== 'sealed' ? missingWords(tree) : ''
  return (
    <Stack gap="sm">
      <Group gap={6}>
        <Text size="sm">Needs {quorum.words}</Text>
        <Badge variant="light" radius="sm" tt="none" color={met ? 'green' : 'yellow'}>
          {met ? 'enough' : `${quorum.approvers} of ${quorum.min_approvers} people`}
        </Badge>
      </Group>
      {missing !== '' && <Text size="sm">Still missing: {missing}</Text>}
      {tree && <Parts of={[tree]} quorum={quorum} isOpen={isOpen} />}
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

type PartsProps = { of: readonly QuorumPart[]; quorum: Quorum; isOpen: boolean }

/** As deep as the policy has them; what stands side by side outermost is all needed, and need not say so. */
function Parts({ of, quorum, isOpen }: PartsProps) {
  return tellingParts(quorum, of).map((part) =>
    'set' in part ? (
      <SetLine key={part.set} set={part} mayVote={isOpen && canHelp(quorum, part)} />
    ) : part === quorum.tree && 'all_of' in part ? (
      <Parts key="all" of={part.all_of} quorum={quorum} isOpen={isOpen} />
    ) : (
      <Stack key={keyOf(part)} gap="xs">
        <Text size="sm" c="dimmed">
          {'any_of' in part ? 'Any one of these:' : 'All of these:'}
        </Text>
        <Stack gap="xs" pl="sm">
          <Parts of={partsOf(part)} quorum={quorum} isOpen={isOpen} />
        </Stack>
      </Stack>
    ),
  )
}

const keyOf = (part: QuorumPart): string => ('set' in part ? part.set : partsOf(part).map(keyOf).join('/'))

function SetLine({ set, mayVote }: { set: QuorumSet; mayVote: boolean }) {
  return (
    <div>
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
        color={set.met ? 'green' : 'yellow'}
        aria-label={`${set.set}: ${set.have} of ${set.needed}`}
        size="sm"
      />
      {mayVote && set.may_still_vote.length > 0 && (
        <Text size="sm" c="dimmed" className="said">
          May still vote: {listWords(set.may_still_vote)}
        </Text>
      )}
    </div>
  )
}
