import { Button, Collapse, Stack, TextInput } from '@mantine/core'
import { useDebouncedCallback, useDisclosure, useMediaQuery } from '@mantine/hooks'
import { IconFilter } from '@tabler/icons-react'
import { type ReactNode, useEffect, useState } from 'react'

const NARROW = '(max-width: 48em)'

/** Whether the page is too narrow for tables and rows of filters. */
export const useNarrow = (): boolean =>
  useMediaQuery(NARROW, false, { getInitialValueInEffect: false }) ?? false

/** Filters of a page. On a phone they are folded away behind a button that says how many are `set`. */
export function Filters({ set, children }: { set: number; children: ReactNode }) {
  const [opened, { toggle }] = useDisclosure(false)
  if (!useNarrow()) return children
  return (
    <Stack gap="xs">
      <Button
        variant="default"
        leftSection={<IconFilter size={16} aria-hidden />}
        onClick={toggle}
        aria-expanded={opened}
      >
        {set === 0 ? 'Filters' : `Filters (${set} set)`}
      </Button>
      <Collapse expanded={opened}>{children}</Collapse>
    </Stack>
  )
}

const TYPING_MS = 400

type TextFilterProps = {
  label: string
  value: string
  onApply: (value: string) => void
  placeholder?: string
}

/** Applies what is typed once the typing pauses; follows the address when that changes by itself. */
export function TextFilter({ label, value, onApply, placeholder }: TextFilterProps) {
  const [typed, setTyped] = useState(value)
  const apply = useDebouncedCallback(onApply, TYPING_MS)
  useEffect(() => setTyped(value), [value])
  return (
    <TextInput
      label={label}
      placeholder={placeholder}
      value={typed}
      onChange={(event) => {
        setTyped(event.currentTarget.value)
        apply(event.currentTarget.value.trim())
      }}
      autoComplete="off"
      autoCapitalize="none"
      spellCheck={false}
    />
  )
}
