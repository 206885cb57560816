import { Autocomplete, Select } from '@mantine/core'
import type { AskForm, AskProblems, EligiblePolicy } from '../../ask-limits.ts'
import { isListOnly, othersWords, rolesToPlace } from '../../ask-namespaces.ts'

type Props = {
  policy: EligiblePolicy
  form: AskForm
  problems: AskProblems['namespaces']
  onChange: (namespaces: AskForm['namespaces']) => void
}

/** In which namespace of its cluster, of each chosen role that may be had in one of several. */
export function NamespaceFields({ policy, form, problems, onChange }: Props) {
  return rolesToPlace(policy, form).map(({ path, choice }) => {
    const field = {
      label: `Namespace of ${path}`,
      required: true,
      data: choice.listed,
      error: problems?.[path],
    }
    const set = (name: string) => onChange({ ...form.namespaces, [path]: name })
    return isListOnly(choice) ? (
      <Select
        key={path}
        {...field}
        searchable
        placeholder="Choose"
        value={form.namespaces[path] || null}
        onChange={(name) => set(name ?? '')}
      />
    ) : (
      <Autocomplete
        key={path}
        {...field}
        description={othersWords(choice)}
        autoCapitalize="none"
        spellCheck={false}
        value={form.namespaces[path] ?? ''}
        onChange={set}
      />
    )
  })
}
