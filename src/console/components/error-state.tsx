import { Alert, Button, Group, List, Text } from '@mantine/core'
import { IconAlertTriangle } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import { ApiError } from '../api-error.ts'

type Props = { error: unknown; title?: string; onRetry?: () => void; children?: ReactNode }

/** What went wrong, in the server's words. `children`: what else can be done about it. */
export function ErrorState({ error, title = 'That did not work', onRetry, children }: Props) {
  const known = error instanceof ApiError ? error : undefined
  const texts = known && known.texts.length > 1 ? known.texts : undefined
  return (
    <Alert role="alert" variant="light" color="red" icon={<IconAlertTriangle aria-hidden />} title={title}>
      {texts ? (
        <List size="sm">
          {texts.map((text) => (
            <List.Item key={text}>{text}</List.Item>
          ))}
        </List>
      ) : (
        <Text size="sm">{error instanceof Error ? error.message : 'Something unexpected happened'}</Text>
      )}
      {known?.status === 500 && known.requestId && (
        <Text size="xs" mt={4}>
          Request id {known.requestId}
        </Text>
      )}
      {(onRetry || children) && (
        <Group mt="sm" gap="xs">
          {onRetry && (
            <Button size="xs" variant="default" onClick={onRetry}>
              Try again
            </Button>
          )}
          {children}
        </Group>
      )}
    </Alert>
  )
}
