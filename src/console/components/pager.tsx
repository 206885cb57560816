import { Button, Group, Text } from '@mantine/core'
import type { ReactNode } from 'react'

/** The cursors of the pages up to the one that is shown; null begins the first. */
export type Trail = readonly (string | null)[]

type Props = {
  /** What the pages are of. */
  label: string
  trail: Trail
  /** Where the next page begins; null after the last. */
  next: string | null
  onMove: (trail: Trail) => void
  waiting: boolean
  /** What else there is to press. */
  children?: ReactNode
}

/** Back and forth through pages that only the server's cursors lead to. */
export function Pager({ label, trail, next, onMove, waiting, children }: Props) {
  return (
    <Group component="nav" aria-label={label} justify="center">
      <Button
        variant="default"
        size="xs"
        disabled={trail.length === 1}
        onClick={() => onMove(trail.slice(0, -1))}
      >
        Previous
      </Button>
      <Text size="sm" role="status">
        Page {trail.length}
      </Text>
      <Button
        variant="default"
        size="xs"
        disabled={next === null}
        loading={waiting}
        onClick={() => onMove([...trail, next])}
      >
        Next
      </Button>
      {children}
    </Group>
  )
}
