import { Checkbox, NumberInput, Stack, Text } from '@mantine/core'
import { durationWords } from '../../clock.ts'
import type { Plan } from '../../grant-types.ts'
import { type Narrowing, narrowingProblem } from '../../narrowing.ts'
import { roleWords } from '../../words.ts'

type Props = { plan: Plan; value: Narrowing; onChange: (value: Narrowing) => void }

/** Less than was asked for: fewer roles, or not as long. */
export function NarrowFields({ plan, value, onChange }: Props) {
  const problem = narrowingProblem(plan, value)
  return (
    <Stack gap="sm">
      {plan.roles.length > 1 && (
        <Checkbox.Group
          label="Roles that may be used"
          value={[...value.roles]}
          onChange={(roles) => onChange({ ...value, roles })}
        >
          <Stack gap={6} mt={6}>
            {plan.roles.map((role) => (
              <Checkbox key={role.path} value={role.path} label={`${roleWords(role)} (${role.path})`} />
            ))}
          </Stack>
        </Checkbox.Group>
      )}
      <NumberInput
        label="Minutes"
        description={`${durationWords(plan.duration_seconds)} were asked for`}
        min={1}
        max={Math.ceil(plan.duration_seconds / 60)}
        allowDecimal={false}
        allowNegative={false}
        value={value.minutes}
        onChange={(minutes) => onChange({ ...value, minutes })}
      />
      {problem && (
        <Text size="sm" c="var(--mantine-color-error)" role="alert">
          {problem}
        </Text>
      )}
    </Stack>
  )
}
