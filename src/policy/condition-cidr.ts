import { isIP } from 'node:net'
import { memo } from './condition-memo.ts'

type Address = { width: 32 | 128; value: bigint }
type Block = { width: 32 | 128; prefix: bigint; ignoredBits: bigint }

/** Whether the address lies in the block; undefined when either cannot be read. A block without a slash is one address. */
export function inCidr(address: string, cidr: string): boolean | undefined {
  const [at, block] = [readAddress(address), readBlock(cidr)]
  if (!at || !block) return undefined
  return at.width === block.width && at.value >> block.ignoredBits === block.prefix
}

export const isAddress = (text: string): boolean => readAddress(text) !== null
export const isBlock = (text: string): boolean => readBlock(text) !== null

const readAddress = memo((text: string): Address | null => {
  if (isIP(text) === 4) return { width: 32, value: ipv4(text) }
  if (isIP(text) !== 6) return null
  const value = ipv6(text.replace(/%.*$/, ''))
  // On a socket that takes both families an IPv4 caller shows as ::ffff:10.0.0.1.
  return value >> 32n === 0xffffn ? { width: 32, value: value & 0xffff_ffffn } : { width: 128, value }
})

const readBlock = memo((text: string): Block | null => {
  const [, start = '', digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const address = readAddress(start)
  if (!address) return null
  const written = isIP(start) === 6 ? 128 : 32
  // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const bits = (digits === undefined ? written : Number(digits)) - (written - address.width)
  if (bits < 0 || bits > address.width) return null
  const ignoredBits = BigInt(address.width - bits)
  return { width: address.width, prefix: address.value >> ignoredBits, ignoredBits }
})

const ipv4 = (text: string): bigint =>
  BigInt(text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0))

function ipv6(text: string): bigint {
  const tail = /[^:]+\.[^:]+$/.exec(text)?.[0]
  const plain = tail === undefined ? text : text.replace(tail, hexGroups(ipv4(tail)))
  const [head = [], rest] = plain.split('::').map((side) => (side === '' ? [] : side.split(':')))
  const zeros = rest ? new Array<string>(8 - head.length - rest.length).fill('0') : []
  const groups = [...head, ...zeros, ...(rest ?? [])]
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n)
}

const hexGroups = (value: bigint): string =>
  `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`
