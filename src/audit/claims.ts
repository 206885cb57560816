/** What a verified checkpoint says about a writer, and between which times its events up to `seq` may be dated. */
export type Claim = {
  seq: number
  hash: string
  checkpoint: number
  at: string
  /** When the writer was last known not to have come this far; absent before the first checkpoint. */
  notBefore: string | undefined
}

export type ClaimBook = {
  /** False when it contradicts an earlier claim about the writer; it is then not kept. */
  add(writer: string, claim: Claim): boolean
  /** In order of seq. */
  of(writer: string): readonly Claim[]
  writers(): IterableIterator<string>
}

/** Each is about 300 bytes, so a year of checkpoints verifies in some tens of megabytes. */
const MAX_CLAIMS = 100_000

/**
 * Keeps every writer's last claim, and of earlier ones as many as there is room for. With fewer a rewritten stretch is
 * named more coarsely, and dates are held to wider bounds; nothing sound is ever blamed.
 */
export function claimBook(max = MAX_CLAIMS): ClaimBook {
  const byWriter = new Map<string, Claim[]>()
  let total = 0
  let thinAbove = max

  const thin = (): void => {
    total = 0
    for (const [writer, claims] of byWriter) {
      const kept = halved(claims)
      byWriter.set(writer, kept)
      total += kept.length
    }
    // When single claims of many writers fill the room, thinning again at once would be work for nothing.
    thinAbove = Math.max(max, Math.floor(1.5 * total))
  }

  return {
    add(writer, claim) {
      const claims = byWriter.get(writer)
      const last = claims?.at(-1)
      if (last && claim.seq <= last.seq) return claim.seq === last.seq && claim.hash === last.hash
      if (claims) claims.push(claim)
      else byWriter.set(writer, [claim])
      total += 1
      if (total > thinAbove) thin()
      return true
    },
    of: (writer) => byWriter.get(writer) ?? [],
    writers: () => byWriter.keys(),
  }
}

/** Every second claim, the last among them; each takes over the earlier bound of the one that went before it. */
function halved(claims: readonly Claim[]): Claim[] {
  const kept: Claim[] = []
  for (let last = claims.length - 1; last >= 0; last -= 2) {
    const claim = claims[last]
    if (claim) kept.push({ ...claim, notBefore: (claims[last - 1] ?? claim).notBefore })
  }
  return kept.reverse()
}
