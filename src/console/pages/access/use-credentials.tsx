import { type ReactNode, useState } from 'react'
import type { Credential } from '../../commands.ts'
import type { ShortGrant } from '../../grant-types.ts'
import { act } from '../../grants.ts'
import { type Action, useAction } from '../../use-action.ts'
import { CredentialsDialog } from './credentials-dialog.tsx'

type Given = { credentials: Credential[] }

type Credentials = {
  /** All of the request; with `paths`, of these roles. */
  collect: Action<[how: 'activate' | 'collect', paths?: readonly string[]]>
  /** Shows what was given, and has to be there for as long as it does. */
  dialog: ReactNode
}

/** Gets the credentials of a request and shows them once. */
export function useCredentials(
  grant: ShortGrant,
  /** Whether they are on the screen: until they are not, this has to stay where it is. */
  onShowing?: (showing: boolean) => void,
): Credentials {
  // Here and nowhere else, until the dialog closes.
  const [given, setGiven] = useState<Credential[]>()
  const collect = useAction(
    (how: 'activate' | 'collect', paths?: readonly string[]) =>
      act<Given>(grant.id, how, paths ? { roles: paths } : {}),
    {
      onDone: ({ credentials }) => {
        setGiven(credentials)
        onShowing?.(true)
      },
    },
  )
  return {
    collect,
    dialog: (
      <CredentialsDialog
        credentials={given}
        grant={grant}
        onOver={() => setGiven([])}
        onClose={() => {
          setGiven(undefined)
          onShowing?.(false)
        }}
      />
    ),
  }
}
