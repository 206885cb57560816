import { Group, Stack, Title } from '@mantine/core'
import { type ReactNode, useEffect } from 'react'

type Props = {
  title: string
  /** How many things wait on it: before the title in the tab, where it is seen from another one. */
  waiting?: number | undefined
  /** Buttons beside the heading. */
  actions?: ReactNode
  children: ReactNode
}

/** A page: its title in the tab, its one `h1`, its contents. */
export function Page({ title, waiting = 0, actions, children }: Props) {
  useEffect(() => {
    document.title = `${waiting > 0 ? `(${waiting}) ` : ''}${title} · Leasehold`
  }, [title, waiting])
  return (
    <Stack gap="md">
      <Group justify="space-between" gap="sm">
        <Title order={1} size="h3">
          {title}
        </Title>
        {actions}
      </Group>
      {children}
    </Stack>
  )
}
