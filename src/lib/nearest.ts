/** The candidate a typo most likely meant: at most `limit` letters changed, added or left out. */
export function nearest(word: string, candidates: readonly string[], limit = 3): string | undefined {
  let best: string | undefined
  let bestDistance = limit + 1
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate)
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const [left, up, diagonal] = [row[j - 1], above[j], above[j - 1]] as [number, number, number]
      row.push(Math.min(left + 1, up + 1, diagonal + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    above = row
  }
  return above[b.length] as number
}
