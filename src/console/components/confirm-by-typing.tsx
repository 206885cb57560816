import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { type ReactNode, useState } from 'react'
import { useAction } from '../use-action.ts'
import { ErrorState } from './error-state.tsx'

type Props = {
  opened: boolean
  onClose: () => void
  title: string
  /** What has to be typed, exactly: the name of what it is done to. */
  expected: string
  confirmLabel: string
  /** What will happen. */
  children: ReactNode
  /** Closes when done; a failure is shown and leaves it open. */
  onConfirm: () => Promise<unknown>
}

/** Asks for the name of a thing before something is done to it that cannot be undone. */
export function ConfirmByTyping(props: Props) {
  return (
    <Modal opened={props.opened} onClose={props.onClose} title={props.title}>
      <Contents {...props} />
    </Modal>
  )
}

function Contents({ onClose, expected, confirmLabel, children, onConfirm }: Props) {
  const [typed, setTyped] = useState('')
  const action = useAction(onConfirm, { onDone: onClose })
  const matches = typed.trim() === expected
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (matches) action.run()
      }}
    >
      <Stack gap="sm">
        <div>{children}</div>
        <Text size="sm">
          To confirm, type <strong>{expected}</strong>
        </Text>
        <TextInput
          aria-label={`Type ${expected} to confirm`}
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          data-autofocus
        />
        {action.error !== undefined && <ErrorState error={action.error} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Go back
          </Button>
          <Button type="submit" color="red" disabled={!matches} loading={action.running}>
            {confirmLabel}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
