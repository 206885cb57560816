import { type FormEvent, type RefObject, useEffect, useRef, useState } from 'react'

type CheckedForm<Problems extends object> = {
  /** What is wrong with each field; nothing before the first try to send. */
  problems: Partial<Problems>
  tried: boolean
  props: { ref: RefObject<HTMLFormElement | null>; noValidate: true; onSubmit: (event: FormEvent) => void }
}

/**
 * A form that is checked when somebody sends it: with nothing in `problems` it is sent, else the first field that is
 * complained about gets the focus, since on a phone it may be out of sight.
 */
export function useCheckedForm<Problems extends object>(
  problems: Problems,
  send: () => void,
): CheckedForm<Problems> {
  const ref = useRef<HTMLFormElement>(null)
  const [tries, setTries] = useState(0)
  useEffect(() => {
    if (tries > 0 && ref.current) fieldInQuestion(ref.current)?.focus()
  }, [tries])
  return {
    problems: tries > 0 ? problems : {},
    tried: tries > 0,
    props: {
      ref,
      noValidate: true,
      onSubmit(event) {
        event.preventDefault()
        setTries(tries + 1)
        if (Object.keys(problems).length === 0) send()
      },
    },
  }
}

const FIELD = 'input:not([type="hidden"]), textarea'

/** The first field with a complaint; of several that share one, the first of them. */
function fieldInQuestion(form: HTMLElement): HTMLElement | null {
  const complaint = form.querySelector<HTMLElement>('[id$="-error"]')
  let around = complaint?.parentElement
  while (around && around !== form && !around.querySelector(FIELD)) around = around.parentElement
  return around?.querySelector<HTMLElement>(FIELD) ?? null
}
