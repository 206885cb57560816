import { Badge } from '@mantine/core'
import { toneOf } from '../tones.ts'

/** A state as a word in a colour; the word alone says it all. */
export function StateBadge({ state, stuck = false }: { state: string; stuck?: boolean }) {
  return (
    <Badge color={toneOf(stuck ? 'stuck' : state)} variant="light" radius="sm" tt="none" miw="max-content">
      {(stuck ? 'stuck' : state).replaceAll('_', ' ')}
    </Badge>
  )
}
