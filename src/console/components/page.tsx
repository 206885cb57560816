import { Group, Stack, Title } from '@mantine/core'
import { type ReactNode, useEffect } from 'react'

type Props = { title: string /** Buttons beside the heading. */; actions?: ReactNode; children: ReactNode }

/** A page: its title in the tab, its one `h1`, its contents. */
export function Page({ title, actions, children }: Props) {
  useEffect(() => {
    document.title = `${title} · Leasehold`
  }, [title])
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
