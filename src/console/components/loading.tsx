import { Skeleton, Stack, VisuallyHidden } from '@mantine/core'

/** The shape of what is coming: `rows` lines of it. */
export function Loading({ rows = 4, height = 56 }: { rows?: number; height?: number }) {
  return (
    <Stack gap="sm" role="status">
      <VisuallyHidden>Loading</VisuallyHidden>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all the same and never move
        <Skeleton key={row} height={height} radius="md" />
      ))}
    </Stack>
  )
}
