/** A wire lease id in its two parts: the path that was asked, and the row's id. Neither is checked to exist. */
export function splitLeaseId(leaseId: string): { path: string; id: string } {
  const cut = leaseId.lastIndexOf('/')
  return { path: leaseId.slice(0, Math.max(cut, 0)), id: leaseId.slice(cut + 1) }
}

export const wireLeaseId = ({ path, id }: { path: string; id: string }): string => `${path}/${id}`
