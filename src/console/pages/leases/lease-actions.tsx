import { Button, Group, Modal, Select, Stack, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useState } from 'react'
import { ErrorState } from '../../components/error-state.tsx'
import { targetName } from '../../target-name.ts'
import { useAction } from '../../use-action.ts'
import { holderName, type LeaseDetail } from './lease.ts'
import { renewLease, revokeOne } from './lease-queries.ts'

/** Renewing and revoking one lease, where the caller may. */
export function LeaseActions({ lease }: { lease: LeaseDetail }) {
  const [renewing, renew] = useDisclosure(false)
  const [revoking, revoke] = useDisclosure(false)
  const live = lease.state === 'active' || lease.state === 'issuing'
  return (
    <Group gap="xs">
      {lease.may.renew && lease.renewable && lease.state === 'active' && (
        <Button variant="default" onClick={renew.open}>
          Renew
        </Button>
      )}
      {lease.may.revoke && live && (
        <Button color="red" onClick={revoke.open}>
          Revoke
        </Button>
      )}
      <Modal title="Renew the lease" opened={renewing} onClose={renew.close}>
        <Renewing lease={lease} onClose={renew.close} />
      </Modal>
      <Modal
        title={`Revoke ${lease.account} on ${targetName(lease)}`}
        opened={revoking}
        onClose={revoke.close}
      >
        <Revoking lease={lease} onClose={revoke.close} />
      </Modal>
    </Group>
  )
}

const BY = [
  { value: '0', label: 'what its role gives' },
  { value: '900', label: '15 minutes' },
  { value: '1800', label: '30 minutes' },
  { value: '3600', label: '1 hour' },
  { value: '14400', label: '4 hours' },
]

type Props = { lease: LeaseDetail; onClose: () => void }

function Renewing({ lease, onClose }: Props) {
  const [seconds, setSeconds] = useState('0')
  const action = useAction(() => renewLease(lease.lease_id, Number(seconds)), { onDone: onClose })
  return (
    <Stack gap="sm">
      <Select
        label="From now on, for"
        data={BY}
        value={seconds}
        onChange={(value) => setSeconds(value ?? '0')}
        allowDeselect={false}
        data-autofocus
      />
      <Text size="sm">It never lasts longer than its limits allow: the page then shows what limited it.</Text>
      {action.error !== undefined && <ErrorState error={action.error} />}
      <Buttons label="Renew" onClose={onClose} onConfirm={action.run} running={action.running} />
    </Stack>
  )
}

function Revoking({ lease, onClose }: Props) {
  const action = useAction(() => revokeOne(lease.lease_id), { onDone: onClose })
  return (
    <Stack gap="sm">
      <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
        The login of {lease.account} on {targetName(lease)}, held by {holderName(lease)}, is disabled, its
        sessions are cut and the account is removed. That cannot be undone.
      </Text>
      {action.error !== undefined && <ErrorState error={action.error} />}
      <Buttons
        label="Revoke now"
        color="red"
        onClose={onClose}
        onConfirm={action.run}
        running={action.running}
      />
    </Stack>
  )
}

type ButtonsProps = {
  label: string
  color?: string
  onClose: () => void
  onConfirm: () => void
  running: boolean
}

function Buttons({ label, color, onClose, onConfirm, running }: ButtonsProps) {
  return (
    <Group justify="flex-end" gap="xs">
      <Button variant="default" onClick={onClose}>
        Go back
      </Button>
      <Button color={color} onClick={onConfirm} loading={running}>
        {label}
      </Button>
    </Group>
  )
}
