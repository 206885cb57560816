import { Text } from '@mantine/core'
import type { Vote } from '../grant-types.ts'
import { decisionWords, listWords, voidWords, voterWords } from '../words.ts'
import { Time } from './time.tsx'

/** One vote: whose it is, what it says, and why it does not count any more where it does not. */
export function VoteLine({ vote }: { vote: Vote }) {
  const gone = voidWords(vote)
  return (
    <>
      <Text span size="sm" td={gone ? 'line-through' : undefined}>
        <strong>{voterWords(vote)}</strong> {decisionWords(vote.decision)}
        {vote.sets.length > 0 && ` for ${listWords(vote.sets)}`}, <VoteTime vote={vote} />
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

/** Of a person when they voted; of a system how old what it goes by is, which is when it was so. */
function VoteTime({ vote: { cast_at, evidence } }: { vote: Vote }) {
  return evidence?.as_of ? (
    <>
      as of <Time at={evidence.as_of} clock />
    </>
  ) : (
    <Time at={cast_at} clock />
  )
}
