import {
  type ControlGroupParts,
  type ControlGroups,
  createControlGroups,
} from '../breakglass/control-group.ts'
import type { Requests } from '../breakglass/requests.ts'
import type { AccessSide } from './access.ts'
import type { Base } from './base.ts'

/** Vault's control groups, over what break-glass does anyway. */
export const composeControlGroups = (
  { ledger }: Pick<Base, 'ledger'>,
  { wrapping, tokens }: Pick<AccessSide, 'wrapping' | 'tokens'>,
  {
    requests: { submit, approve },
    activate,
  }: { requests: Requests; activate: ControlGroupParts['activate'] },
): ControlGroups =>
  createControlGroups({ ledger, wrapping, holderOf: tokens.holderById, submit, approve, activate })
