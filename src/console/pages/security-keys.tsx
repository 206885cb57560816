import { Badge, Button, Card, Group, Stack, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ask } from '../api.ts'
import { ApiError } from '../api-error.ts'
import { ConfirmByTyping } from '../components/confirm-by-typing.tsx'
import { EmptyState } from '../components/empty-state.tsx'
import { ErrorState } from '../components/error-state.tsx'
import { KeysElsewhere } from '../components/key-sign-in.tsx'
import { Loaded } from '../components/loaded.tsx'
import { LoginAgain } from '../components/login-again.tsx'
import { Page } from '../components/page.tsx'
import { Section } from '../components/section.tsx'
import { Time } from '../components/time.tsx'
import { queryClient } from '../query-client.ts'
import { elsewhere, enrolKey, type KeyMethod, type SecurityKey, useKeyMethods } from '../security-key.ts'
import { useSession } from '../session.ts'
import { useAction } from '../use-action.ts'

/** One's own security keys: what one signs in by when the identity provider does not answer. */
export default function SecurityKeys() {
  const methods = useKeyMethods()
  return (
    <Page title="Security keys">
      <Loaded query={methods} rows={2}>
        {({ webauthn }) =>
          webauthn.length === 0 ? (
            <EmptyState title="Nobody signs in by security keys here">
              An operator may enable that: it needs a mount of type webauthn.
            </EmptyState>
          ) : (
            webauthn.map((method) => (
              <KeysOf key={method.path} method={method} only={webauthn.length === 1} />
            ))
          )
        }
      </Loaded>
    </Page>
  )
}

type Listed = { keys: string[]; key_info: Record<string, SecurityKey> }

/** An empty list is not found, in the dialect. */
function none(error: unknown): Listed {
  if (error instanceof ApiError && error.status === 404) return { keys: [], key_info: {} }
  throw error
}

const keyOf = (method: KeyMethod) => ['security-keys', method.path]
const readAgain = (method: KeyMethod) => void queryClient.invalidateQueries({ queryKey: keyOf(method) })

function KeysOf({ method, only }: { method: KeyMethod; only: boolean }) {
  const query = useQuery({
    queryKey: keyOf(method),
    queryFn: ({ signal }) => ask<Listed>(`${method.path}keys`, { query: { list: true }, signal }).catch(none),
  })
  return (
    <Section title={only ? 'Your keys' : method.description || method.path}>
      <Text size="sm">
        With a key you sign in when your identity provider does not answer: as yourself, with the groups that
        it last said you are in. Enrol two, and keep one in a safe place.
      </Text>
      <Loaded query={query} rows={2}>
        {({ keys, key_info: info }) =>
          keys.length === 0 ? (
            <EmptyState title="You have no security key yet" />
          ) : (
            <Stack gap="sm" component="ul" p={0} m={0} style={{ listStyle: 'none' }} aria-label="Your keys">
              {keys
                .map((id) => info[id])
                .map((key) => key && <KeyCard key={key.id} method={method} securityKey={key} />)}
            </Stack>
          )
        }
      </Loaded>
      <AddKey method={method} />
    </Section>
  )
}

function KeyCard({ method, securityKey: key }: { method: KeyMethod; securityKey: SecurityKey }) {
  const [doing, setDoing] = useState<'rename' | 'remove'>()
  const close = () => setDoing(undefined)
  return (
    <Card component="li" withBorder padding="sm">
      <Group justify="space-between" align="flex-start">
        <div style={{ minWidth: 0 }}>
          <Text fw={600} className="said">
            {key.name}
          </Text>
          <Text size="sm" c="dimmed">
            Since <Time at={key.created_at} />
            {key.last_used_at ? (
              <>
                , last used <Time at={key.last_used_at} />
              </>
            ) : (
              ', never used'
            )}
          </Text>
          {!key.hardware_bound && (
            <Badge variant="default" mt={4}>
              On several devices
            </Badge>
          )}
        </div>
        <Group gap="xs">
          <Button variant="default" size="xs" onClick={() => setDoing('rename')}>
            Rename {key.name}
          </Button>
          <Button
            variant="default"
            size="xs"
            c="var(--mantine-color-error)"
            onClick={() => setDoing('remove')}
          >
            Remove {key.name}
          </Button>
        </Group>
      </Group>
      {doing === 'rename' && <Rename method={method} securityKey={key} onClose={close} />}
      {doing === 'remove' && <Remove method={method} securityKey={key} onClose={close} />}
    </Card>
  )
}

type Doing = { method: KeyMethod; securityKey: SecurityKey; onClose: () => void }

const pathOf = ({ method, securityKey }: Pick<Doing, 'method' | 'securityKey'>) =>
  `${method.path}keys/${encodeURIComponent(securityKey.id)}`

function Rename({ method, securityKey, onClose }: Doing) {
  const [name, setName] = useState(securityKey.name)
  const rename = useAction(
    () => ask(pathOf({ method, securityKey }), { method: 'POST', body: { name: name.trim() } }),
    {
      onDone: () => {
        readAgain(method)
        onClose()
      },
    },
  )
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        rename.run()
      }}
    >
      <Group align="flex-end" gap="xs" mt="sm">
        <TextInput
          label="Name"
          value={name}
          maxLength={64}
          required
          data-autofocus
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Button type="submit" loading={rename.running}>
          Save
        </Button>
        <Button variant="default" onClick={onClose}>
          Go back
        </Button>
      </Group>
      {rename.error !== undefined && <ErrorState error={rename.error} />}
    </form>
  )
}

function Remove({ method, securityKey, onClose }: Doing) {
  return (
    <ConfirmByTyping
      opened
      onClose={onClose}
      title={`Remove ${securityKey.name}`}
      expected={securityKey.name}
      confirmLabel="Remove the key"
      onConfirm={async () => {
        await ask(pathOf({ method, securityKey }), { method: 'DELETE' })
        readAgain(method)
      }}
    >
      <Text size="sm">
        Nobody signs in by it any more. Sessions that it began end at once, and so does what was got in them.
      </Text>
    </ConfirmByTyping>
  )
}

function AddKey({ method }: { method: KeyMethod }) {
  const { oidc } = useSession()
  const [name, setName] = useState('')
  const add = useAction(() => enrolKey(method, name.trim()), {
    onDone: () => {
      setName('')
      readAgain(method)
    },
  })
  const origin = elsewhere(method)
  if (origin !== undefined) return <KeysElsewhere origin={origin} />
  if (!oidc) {
    return (
      <Text size="sm">
        To add a key, sign in with your identity provider: a key cannot vouch for another.
      </Text>
    )
  }
  const mayLogInAgain = add.error instanceof ApiError && add.error.status === 403
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        add.run()
      }}
    >
      <Group align="flex-end" gap="xs">
        <TextInput
          label="What you call the new key"
          placeholder="blue one on my ring"
          value={name}
          maxLength={64}
          required
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Button type="submit" loading={add.running}>
          Add a security key
        </Button>
      </Group>
      {add.error !== undefined && (
        <ErrorState error={add.error} title="Not added">
          {mayLogInAgain && <LoginAgain purpose="to add a key" />}
        </ErrorState>
      )}
    </form>
  )
}
