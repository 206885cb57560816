import { ActionIcon, Alert, Button, Code, CopyButton, Group, Modal, Stack, Text } from '@mantine/core'
import { IconCheck, IconCopy, IconEye, IconEyeOff } from '@tabler/icons-react'
import { useState } from 'react'
import { type Credential, commandFor, partsOf } from '../../commands.ts'

/** Connection details, this once. They are in this dialog's properties only: closing it forgets them. */
export function CredentialsDialog({
  credentials,
  onClose,
}: {
  /** Absent: the dialog is closed. */
  credentials: Credential[] | undefined
  onClose: () => void
}) {
  return (
    <Modal
      opened={credentials !== undefined}
      onClose={onClose}
      title="Connection details"
      size="lg"
      closeOnClickOutside={false}
    >
      <Stack gap="md">
        <Alert role="note" color="yellow" variant="light" p="sm">
          Shown once: when this closes they are gone from this page. You can collect new ones while your
          access lasts.
        </Alert>
        {credentials?.map((credential) => (
          <One key={credential.lease_id} credential={credential} />
        ))}
        <Group justify="flex-end">
          <Button onClick={onClose}>Done, forget them</Button>
        </Group>
      </Stack>
    </Modal>
  )
}

function One({ credential }: { credential: Credential }) {
  const command = commandFor(credential)
  return (
    <Stack gap={6} role="group" aria-label={credential.path}>
      <Text fw={600} size="sm">
        {credential.target ? `${credential.target} (${credential.path})` : credential.path}
      </Text>
      {partsOf(credential).map((part) => (
        <Line key={part.label} {...part} />
      ))}
      {command && <Line label="Command" value={command} secret={false} />}
    </Stack>
  )
}

function Line({ label, value, secret }: { label: string; value: string; secret: boolean }) {
  const [shown, setShown] = useState(!secret)
  return (
    <div>
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <Group gap={6} wrap="nowrap" align="flex-start">
        <Code flex={1} miw={0} className="said" aria-label={label} p={6}>
          {shown ? value : '••••••••••••'}
        </Code>
        {secret && (
          <ActionIcon
            variant="default"
            size="lg"
            aria-label={`${shown ? 'Hide' : 'Show'} ${label}`}
            onClick={() => setShown(!shown)}
          >
            {shown ? <IconEyeOff size={16} aria-hidden /> : <IconEye size={16} aria-hidden />}
          </ActionIcon>
        )}
        <CopyButton value={value} timeout={2_000}>
          {({ copied, copy }) => (
            <ActionIcon
              variant="default"
              size="lg"
              aria-label={copied ? `Copied ${label}` : `Copy ${label}`}
              onClick={copy}
            >
              {copied ? <IconCheck size={16} aria-hidden /> : <IconCopy size={16} aria-hidden />}
            </ActionIcon>
          )}
        </CopyButton>
      </Group>
    </div>
  )
}
