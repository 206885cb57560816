import type { AuthorizerParts } from '../policy/authorize.ts'
import type { Labels } from '../policy/context.ts'
import type { Issuables } from './issuables.ts'
import type { Mounts } from './mounts.ts'

/** What policy may go by when a role is asked for, as of a revision of the ledger. */
export const roleFacts =
  ({ issuables, mounts }: { issuables: Issuables; mounts: Mounts }): AuthorizerParts['roleOf'] =>
  async (revision, { mountId, mountPath, name }) => {
    const [found, mount] = await Promise.all([
      issuables(revision, { mountId, roleName: name }),
      mounts.resolve(mountPath, { revision }),
    ])
    if (!found) return undefined
    const { roleSpec, target } = found
    return {
      facts: {
        name,
        mount: mountPath,
        engine: target?.engine ?? '',
        target: found.targetName,
        environment: textOf(roleSpec.environment),
        labels: labelsOf(roleSpec.labels),
        targetEnvironment: textOf(target?.spec.environment),
        targetLabels: labelsOf(target?.spec.labels),
        mountEnvironment: textOf(mount?.config.environment),
        mountLabels: labelsOf(mount?.config.labels),
      },
      condition: textOf(roleSpec.condition) || undefined,
    }
  }

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Checked when they were written. */
const labelsOf = (value: unknown): Labels => (value ?? {}) as Labels
