import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { readableFile } from '../lib/forms.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { type Report, warnIfExposed } from './report.ts'

/** What the built-in secret store seals under, and what it was before; each as a value or in a file. */
export type MasterKeys = {
  masterKey: Sensitive | undefined
  previousMasterKey: Sensitive | undefined
}

const key = z
  .string()
  .trim()
  .regex(/^[A-Za-z0-9+/_-]{43}=?$/, {
    error: 'must be 32 bytes in base64, as `openssl rand -base64 32` prints them',
  })
  .transform(sensitive)

const keyFile = readableFile.transform((path, ctx) => {
  const checked = key.safeParse(readFileSync(path, 'utf8'))
  if (checked.success) return { path, key: checked.data }
  ctx.addIssue('names a file that does not hold 32 bytes in base64, as `openssl rand -base64 32` prints them')
  return z.NEVER
})

export const masterKeyForm = {
  LEASEHOLD_MASTER_KEY: key.optional(),
  LEASEHOLD_MASTER_KEY_FILE: keyFile.optional(),
  LEASEHOLD_PREVIOUS_MASTER_KEY: key.optional(),
  LEASEHOLD_PREVIOUS_MASTER_KEY_FILE: keyFile.optional(),
}

const NAMES = ['LEASEHOLD_MASTER_KEY', 'LEASEHOLD_PREVIOUS_MASTER_KEY'] as const

/** On the raw names, so that one start reports these beside malformed values. */
export function checkMasterKeys(
  settings: Readonly<Record<string, string>>,
  { required }: { required: boolean },
  report: Report,
): void {
  for (const name of NAMES) {
    if (name in settings && `${name}_FILE` in settings) {
      report.problem(`${name} and ${name}_FILE are both set; keep one`)
    }
  }
  if (required && !('LEASEHOLD_MASTER_KEY' in settings) && !('LEASEHOLD_MASTER_KEY_FILE' in settings)) {
    report.problem(
      'LEASEHOLD_MASTER_KEY_FILE (or LEASEHOLD_MASTER_KEY) is required: the output of `openssl rand -base64 32`',
    )
  }
}

export function readMasterKeys(
  values: { [Name in keyof typeof masterKeyForm]?: z.output<(typeof masterKeyForm)[Name]> },
  report: Report,
): MasterKeys {
  const [masterKey, previousMasterKey] = NAMES.map((name) => {
    const file = values[`${name}_FILE`]
    if (file) warnIfExposed(`${name}_FILE`, file.path, report)
    return file?.key ?? values[name]
  })
  return { masterKey, previousMasterKey }
}
