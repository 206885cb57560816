import { Button, Group, Modal, NumberInput, Stack, Text, Textarea } from '@mantine/core'
import { useState } from 'react'
import { ErrorState } from '../../components/error-state.tsx'
import type { ShortGrant } from '../../grant-types.ts'
import { act } from '../../grants.ts'
import { useAction } from '../../use-action.ts'
import { useCheckedForm } from '../../use-checked-form.ts'

type Props = { grant: ShortGrant; onClose: () => void }

/** Asks for more time on a request that is active: it is voted on like the first one. */
export function ExtendDialog({ opened, ...rest }: Props & { opened: boolean }) {
  return (
    <Modal opened={opened} onClose={rest.onClose} title="Ask for more time">
      <Contents {...rest} />
    </Modal>
  )
}

function Contents({ grant, onClose }: Props) {
  const [minutes, setMinutes] = useState<number | string>(Math.ceil(grant.duration_seconds / 60))
  const [reason, setReason] = useState('')
  const whole = Number(minutes)
  const extend = useAction(() => act(grant.id, 'extend', { duration: whole * 60, reason: reason.trim() }), {
    onDone: onClose,
  })
  const { problems, props } = useCheckedForm(
    {
      ...(!(Number.isInteger(whole) && whole > 0) && { minutes: 'At least one minute, in whole minutes' }),
      ...(reason.trim() === '' && { reason: 'Say why' }),
    },
    extend.run,
  )
  return (
    <form {...props}>
      <Stack gap="sm">
        <Text size="sm">
          It needs the same approval as before, from somebody new among them. Until then the old end stands.
        </Text>
        <NumberInput
          label="Minutes more"
          min={1}
          allowDecimal={false}
          allowNegative={false}
          value={minutes}
          onChange={setMinutes}
          error={problems.minutes}
          data-autofocus
        />
        <Textarea
          label="Why"
          required
          autosize
          minRows={2}
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
          error={problems.reason}
        />
        {extend.error !== undefined && <ErrorState error={extend.error} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Go back
          </Button>
          <Button type="submit" loading={extend.running}>
            Ask
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
