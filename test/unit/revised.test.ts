import { describe, expect, test } from 'vitest'
import { revised } from '../../src/lib/revised.ts'

/** A source whose values carry the number of the load that read them. */
function counted(known: string[]) {
  const loads: string[][] = []
  const get = revised<string>(async (keys) => {
    loads.push([...keys].sort())
    return new Map(keys.filter((key) => known.includes(key)).map((key) => [key, `${key}${loads.length}`]))
  })
  return { get, loads }
}

describe('values kept for a revision', () => {
  test('are loaded once, those asked for together in one load', async () => {
    const { get, loads } = counted(['a', 'b'])
    expect(await Promise.all([get(1, 'a'), get(1, 'b'), get(1, 'a')])).toEqual(['a1', 'b1', 'a1'])
    expect(await get(1, 'b')).toBe('b1')
    expect(loads).toEqual([['a', 'b']])
  })

  test('are forgotten at another revision, a lower one too: a restored source counts from where it was', async () => {
    const { get } = counted(['a'])
    expect([await get(5, 'a'), await get(6, 'a'), await get(4, 'a')]).toEqual(['a1', 'a2', 'a3'])
  })

  test('what is not there is remembered as well', async () => {
    const { get, loads } = counted([])
    expect([await get(1, 'x'), await get(1, 'x')]).toEqual([undefined, undefined])
    expect(loads).toHaveLength(1)
  })

  test('a load that failed is tried again, and fails only those who asked', async () => {
    let broken = true
    const get = revised<string>(async () => {
      if (broken) throw new Error('away')
      return new Map([['a', 'there']])
    })
    await expect(Promise.all([get(1, 'a'), get(1, 'a')])).rejects.toThrow('away')
    broken = false
    expect(await get(1, 'a')).toBe('there')
  })
})
