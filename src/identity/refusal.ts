import { AppRoleLoginRefused, type AppRoleRefusalReason } from './approle/refusal.ts'
import { LoginRefused, type RefusalReason } from './jwt/refusal.ts'
import { KubernetesLoginRefused, type KubernetesRefusalReason } from './kubernetes/refusal.ts'
import { WebauthnLoginRefused, type WebauthnRefusalReason } from './webauthn/refusal.ts'

/** Why a login was refused, whatever its method: for audit and logs, never for the caller. Undefined for other errors. */
export function refusalOf(error: unknown):
  | {
      reason: RefusalReason | KubernetesRefusalReason | AppRoleRefusalReason | WebauthnRefusalReason
      detail: string
    }
  | undefined {
  const isRefusal =
    error instanceof LoginRefused ||
    error instanceof KubernetesLoginRefused ||
    error instanceof AppRoleLoginRefused ||
    error instanceof WebauthnLoginRefused
  return isRefusal ? { reason: error.reason, detail: error.detail } : undefined
}
