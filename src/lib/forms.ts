import { accessSync, constants, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { z } from 'zod'
import { parseDuration } from './duration.ts'
import { isLoopbackHost } from './loopback.ts'
import { type Sensitive, sensitive } from './sensitive.ts'

/**
 * What text settings may look like. Messages are the second half of a sentence that starts with the setting's name,
 * and never hold the value: it may be a password in the wrong place.
 */

export type Listen = { host: string; port: number }

const required = { error: 'is required' }

export const listen = z.string(required).transform((text, ctx): Listen => {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  if (host !== undefined && Number(port) <= 65_535 && (bracketed === undefined || isIP(bracketed) === 6)) {
    return { host, port: Number(port) }
  }
  ctx.addIssue('must be host:port, such as 127.0.0.1:8200 or [::1]:8200')
  return z.NEVER
})

export const isLoopback = ({ host }: Listen): boolean => isLoopbackHost(host)

export const loopback = listen.refine(isLoopback, {
  error: 'must be an address only this machine can reach, such as 127.0.0.1:8200',
})

export const url = (...schemes: string[]) =>
  z
    .string(required)
    // Not WHATWG's parser: it refuses postgres://user:word@/base?host=/run/postgresql, which the drivers take.
    .refine((text) => schemes.some((scheme) => text.startsWith(`${scheme}://`)) && !/\s/.test(text), {
      error: `must be a URL that starts with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
    })
    .transform((text): Sensitive => sensitive(text))

export const seconds = (min: number, max: number) =>
  z.string().transform((text, ctx): number => {
    const value = parseDuration(text)
    if (value !== undefined && value >= min && value <= max) return value
    ctx.addIssue(`must be a duration from ${min}s to ${max}s, such as 5s`)
    return z.NEVER
  })

/** The absolute path of a file that exists and can be read now. */
export const readableFile = z.string().transform((text, ctx): string => {
  const path = resolve(text)
  try {
    accessSync(path, constants.R_OK)
    if (statSync(path).isFile()) return path
    ctx.addIssue('names something that is not a file')
  } catch (error) {
    // The code alone: the system's message repeats the path.
    ctx.addIssue(`names a file that cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  return z.NEVER
})

export const oneOf = <const T extends readonly [string, ...string[]]>(...values: T) =>
  z.enum(values, { error: `must be one of ${values.join(', ')}` })
