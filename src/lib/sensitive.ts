import { inspect } from 'node:util'

/** A secret that cannot be printed by accident: logs, JSON and templates all show the placeholder. */
export type Sensitive = { reveal(): string; toString(): string; toJSON(): string }

const PLACEHOLDER = '[sensitive]'

export function sensitive(value: string): Sensitive {
  return Object.freeze({
    reveal: () => value,
    toString: () => PLACEHOLDER,
    toJSON: () => PLACEHOLDER,
    [inspect.custom]: () => PLACEHOLDER,
  })
}
