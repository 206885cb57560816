import { BlockList, isIP } from 'node:net'

/** Whether `text` is an address or a block such as `10.0.0.0/8` or `fd00::/8`. */
export function isCidr(text: string): boolean {
  const { address, bits } = split(text)
  const family = isIP(address)
  return family !== 0 && Number.isInteger(bits) && bits >= 0 && bits <= widest(family)
}

/** Whether `address` lies in any of the blocks. */
export function isWithin(blocks: readonly string[], address: string): boolean {
  const list = new BlockList()
  for (const block of blocks) {
    const { address: start, bits } = split(block)
    list.addSubnet(start, bits, isIP(start) === 6 ? 'ipv6' : 'ipv4')
  }
  // On a socket that takes both families an IPv4 caller shows as ::ffff:10.0.0.1.
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  return isIP(plain) !== 0 && list.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4')
}

/** Whether all of `block` lies in any one of the blocks. */
export function isInside(blocks: readonly string[], block: string): boolean {
  const inner = split(block)
  return blocks.some((each) => {
    const outer = split(each)
    // An IPv6 block may also hold all IPv4 addresses, in their mapped form: the two are not weighed against each other.
    return (
      isIP(outer.address) === isIP(inner.address) &&
      outer.bits <= inner.bits &&
      isWithin([each], inner.address)
    )
  })
}

/** The blocks of the addresses that lie in both lists; none when there are no such addresses. */
export const bothOf = (one: readonly string[], other: readonly string[]): string[] => [
  ...new Set([
    ...one.filter((block) => isInside(other, block)),
    ...other.filter((block) => isInside(one, block)),
  ]),
]

/** The same of two lists that stand for any address where they are empty; undefined when no address lies in both. */
export function withinBoth(one: readonly string[], other: readonly string[]): string[] | undefined {
  if (one.length === 0) return [...other]
  if (other.length === 0) return [...one]
  const both = bothOf(one, other)
  return both.length > 0 ? both : undefined
}

function split(text: string): { address: string; bits: number } {
  const [, address = '', bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  return { address, bits: bits === undefined ? widest(isIP(address)) : Number(bits) }
}

const widest = (family: number): number => (family === 6 ? 128 : 32)
