import { Stack } from '@mantine/core'
import type { ReactNode } from 'react'

type Props = { label: string; gap?: 'xs' | 'sm'; children: ReactNode }

/** A list to whoever hears it, cards or lines below each other to whoever sees it. Each child is a `li`. */
export const PlainList = ({ label, gap = 'sm', children }: Props) => (
  <Stack gap={gap} component="ul" p={0} m={0} style={{ listStyle: 'none' }} aria-label={label}>
    {children}
  </Stack>
)
