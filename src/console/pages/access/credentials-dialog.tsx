import { ActionIcon, Alert, Button, Code, CopyButton, Group, Modal, Stack, Text } from '@mantine/core'
import { IconCheck, IconCopy, IconEye, IconEyeOff } from '@tabler/icons-react'
import { type ReactNode, useEffect, useState } from 'react'
import { type Credential, commandFor, partsOf } from '../../commands.ts'
import type { ShortGrant } from '../../grant-types.ts'
import { targetName } from '../../target-name.ts'
import { useNow } from '../../use-now.ts'
import { isAccessOver } from '../../words.ts'

type Props = {
  /** Absent: the dialog is closed. Empty: they are of no use any more. */
  credentials: Credential[] | undefined
  /** As it is now: what was given out under it ends with it. */
  grant: ShortGrant
  /** The access has ended: whoever holds the credentials forgets them. */
  onOver: () => void
  onClose: () => void
}

/** Connection details, this once. They are in this dialog's properties only: closing it forgets them. */
export function CredentialsDialog({ credentials, grant, onOver, onClose }: Props) {
  return (
    <Modal
      opened={credentials !== undefined}
      onClose={onClose}
      title="Connection details"
      size="lg"
      closeOnClickOutside={false}
      // One key pressed by habit would lose them.
      closeOnEscape={false}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {credentials && <Contents credentials={credentials} grant={grant} onOver={onOver} onClose={onClose} />}
    </Modal>
  )
}

function Contents({ credentials, grant, onOver, onClose }: Props & { credentials: Credential[] }) {
  const over = isAccessOver(grant, useNow())
  const held = credentials.length > 0
  useEffect(() => {
    if (over && held) onOver()
  }, [over, held, onOver])
  if (grant.lane === 'drill') {
    return (
      <Without title="This is a drill" color="blue" onClose={onClose}>
        Nothing was opened. In an emergency the connection details stand here. End it when you have seen
        enough: the time that takes is measured too.
      </Without>
    )
  }
  if (over || !held) {
    return (
      <Without title="Access is over" color="gray" onClose={onClose}>
        What was shown here does not let anybody in any more, and is forgotten.
      </Without>
    )
  }
  return <Given credentials={credentials} onClose={onClose} />
}

type WithoutProps = { title: string; color: string; onClose: () => void; children: ReactNode }

/** There is nothing to show, and why. */
function Without({ title, color, onClose, children }: WithoutProps) {
  return (
    <Stack gap="md">
      <Alert role="status" color={color} variant="light" title={title} p="sm">
        {children}
      </Alert>
      <Group justify="flex-end">
        <Button onClick={onClose}>Close this</Button>
      </Group>
    </Stack>
  )
}

function Given({ credentials, onClose }: { credentials: Credential[]; onClose: () => void }) {
  return (
    <Stack gap="md">
      <Alert role="note" color="yellow" variant="light" p="sm">
        Shown once: when this closes they are gone from this page. You can collect new ones while your access
        lasts.
      </Alert>
      {credentials.map((credential) => (
        <One key={credential.lease_id} credential={credential} />
      ))}
      <Group justify="flex-end">
        <Button onClick={onClose}>Done, forget them</Button>
      </Group>
    </Stack>
  )
}

function One({ credential }: { credential: Credential }) {
  const command = commandFor(credential)
  return (
    <Stack gap={6} role="group" aria-label={credential.path}>
      <Text fw={600} size="sm">
        {credential.target
          ? `${targetName({ ...credential, target: credential.target })} (${credential.path})`
          : credential.path}
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
