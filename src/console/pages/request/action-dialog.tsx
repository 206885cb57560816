import { Button, Group, Modal, Stack, Switch, Text, Textarea } from '@mantine/core'
import { useState } from 'react'
import { ApiError } from '../../api-error.ts'
import { durationWords } from '../../clock.ts'
import { ErrorState } from '../../components/error-state.tsx'
import { LoginAgain } from '../../components/login-again.tsx'
import {
  type ActionSpec,
  type ActionText,
  actionBody,
  isAboutLogin,
  sayingOf,
  textProblems,
} from '../../grant-actions.ts'
import type { Extension, ShortGrant } from '../../grant-types.ts'
import { act } from '../../grants.ts'
import { narrowingProblem, narrowOf, wholePlan } from '../../narrowing.ts'
import { useAction } from '../../use-action.ts'
import { useCheckedForm } from '../../use-checked-form.ts'
import { askWords, listWords, targetsOf } from '../../words.ts'
import { NarrowFields } from './narrow-fields.tsx'

type Props = {
  spec: ActionSpec
  grant: ShortGrant
  /** What more was asked for and nobody has decided yet. */
  extension: Extension | undefined
  onClose: () => void
  onDone: (spec: ActionSpec) => void
}

/** The second look before something is done to a request. It names the target, and keeps to the plan it was opened on. */
export function ActionDialog({
  opened,
  spec,
  ...rest
}: Omit<Props, 'spec'> & { opened: boolean; spec: ActionSpec | undefined }) {
  // There even while it is closed: only so can it give the focus back to the button it came from.
  return (
    <Modal opened={opened} onClose={rest.onClose} title={spec?.label} size="lg">
      {spec && <Contents spec={spec} {...rest} />}
    </Modal>
  )
}

function Contents({ spec, grant, extension, onClose, onDone }: Props) {
  // What the person reads here is what is decided, whatever comes in meanwhile: the server tells if it has changed.
  const [seen] = useState(grant)
  const [more] = useState(extension)
  const [texts, setTexts] = useState<ActionText>({})
  const [narrowing, setNarrowing] = useState(false)
  const [narrowed, setNarrowed] = useState(() => wholePlan(seen.plan))
  const saying = sayingOf(spec, seen)
  const unsound = narrowing ? narrowingProblem(seen.plan, narrowed) : undefined
  const narrow = narrowing ? narrowOf(seen.plan, narrowed) : undefined
  const action = useAction(
    () =>
      act(seen.id, spec.action, {
        ...actionBody(spec, spec.more && more ? more : seen, texts),
        ...(narrow && { narrow }),
      }),
    { onDone: () => onDone(spec) },
  )
  const { problems, props } = useCheckedForm(
    { ...textProblems(spec, texts), ...(unsound !== undefined && { narrowing: unsound }) },
    action.run,
  )

  return (
    <form {...props}>
      <Stack gap="sm">
        <Text size="sm" fw={600} className="said">
          {askWords(seen)}.
        </Text>
        {spec.more && more && (
          <Text size="sm" className="said">
            {durationWords(more.seconds)} more: {more.reason}
          </Text>
        )}
        <Text size="sm">{saying.says}</Text>
        {spec.action === 'approve' && (
          <Switch
            label="Approve less than was asked for"
            checked={narrowing}
            onChange={(event) => setNarrowing(event.currentTarget.checked)}
          />
        )}
        {narrowing && <NarrowFields plan={seen.plan} value={narrowed} onChange={setNarrowed} />}
        {spec.fields.map(({ name, label, required }, at) => (
          <Textarea
            key={name}
            label={label}
            required={required}
            autosize
            minRows={2}
            maxRows={8}
            value={texts[name] ?? ''}
            onChange={(event) => setTexts({ ...texts, [name]: event.currentTarget.value })}
            error={problems[name]}
            data-autofocus={at === 0 || undefined}
          />
        ))}
        {action.error !== undefined && (
          <ErrorState error={action.error}>
            {action.error instanceof ApiError && isAboutLogin(action.error.message) && (
              <LoginAgain purpose="to vote" />
            )}
          </ErrorState>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Go back
          </Button>
          <Button type="submit" color={spec.danger ? 'red' : undefined} loading={action.running} maw="100%">
            {narrow ? 'Narrow and approve access to' : saying.confirm} {listWords(targetsOf(seen))}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
