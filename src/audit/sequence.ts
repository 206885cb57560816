/**
 * Where a number stands that should be one more than the last: `ahead` leaves a gap, `late` fills part of an earlier
 * gap, `again` was there before.
 */
export type Place = 'next' | 'ahead' | 'late' | 'again'

export type Sequence = {
  take(number: number): Place
  last(): number
  /** Reports the gaps nothing filled. */
  end(): void
}

/** A gap is given up, and reported, when so many younger ones are open: memory stays bounded in a log full of holes. */
const MAX_OPEN_GAPS = 64

/** Numbers from 1 on. `missing` hears of each run of numbers that never came. */
export function sequence(missing: (from: number, to: number) => void): Sequence {
  let last = 0
  let gaps: { from: number; to: number }[] = []

  const open = (from: number, to: number): void => {
    gaps.push({ from, to })
    const oldest = gaps.length > MAX_OPEN_GAPS ? gaps.shift() : undefined
    if (oldest) missing(oldest.from, oldest.to)
  }

  const fill = (number: number): boolean => {
    const index = gaps.findIndex(({ from, to }) => from <= number && number <= to)
    const gap = gaps[index]
    if (!gap) return false
    const rest = [
      { from: gap.from, to: number - 1 },
      { from: number + 1, to: gap.to },
    ]
    gaps.splice(index, 1, ...rest.filter(({ from, to }) => from <= to))
    return true
  }

  return {
    take(number) {
      if (number <= last) return fill(number) ? 'late' : 'again'
      const expected = last + 1
      last = number
      if (number === expected) return 'next'
      open(expected, number - 1)
      return 'ahead'
    },
    last: () => last,
    end() {
      for (const { from, to } of gaps) missing(from, to)
      gaps = []
    },
  }
}
