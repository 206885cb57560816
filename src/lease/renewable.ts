import type { EngineType, Spec } from '../engine/engine.ts'

/** Whether leases of this role, on an engine of this name, can be renewed. */
export const isRenewable = (
  engineTypes: readonly EngineType[],
  { engine, roleSpec }: { engine: string; roleSpec: Spec },
): boolean => engineTypes.find(({ name }) => name === engine)?.renewable?.(roleSpec) ?? true
