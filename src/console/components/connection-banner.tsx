import { Alert, VisuallyHidden } from '@mantine/core'
import { IconPlugConnectedX } from '@tabler/icons-react'
import { useConnection } from '../live.ts'
import { Time } from './time.tsx'

/** Says at once when the server is not heard any more, and from when the page's data is. */
export function ConnectionBanner() {
  const { state, heardAt } = useConnection()
  const lost = state === 'lost'
  return (
    <>
      {lost && (
        <Alert
          mb="md"
          color="red"
          variant="filled"
          radius="sm"
          icon={<IconPlugConnectedX aria-hidden />}
          p="xs"
        >
          Connection lost
          {heardAt === undefined ? '' : ', showing data of '}
          {heardAt !== undefined && <Time at={new Date(heardAt).toISOString()} clock />}. Trying again.
        </Alert>
      )}
      <VisuallyHidden role="status">{state === 'open' ? 'Connected' : ''}</VisuallyHidden>
    </>
  )
}
