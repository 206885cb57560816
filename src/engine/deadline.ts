/**
 * A time limit of `ms` from now. It has passed when either clock says so: the monotonic one stands still while a
 * virtual machine is suspended, and the wall clock may be set back.
 */
export function deadlineIn(ms: number): () => boolean {
  const steadyMs = performance.now() + ms
  const wallMs = Date.now() + ms
  return () => performance.now() >= steadyMs || Date.now() >= wallMs
}
