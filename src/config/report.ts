import { statSync } from 'node:fs'

/** Where reading the settings says what is wrong. No value is told: it may be a password in the wrong place. */
export type Report = { problem(text: string): void; warn(text: string): void }

export function warnIfExposed(name: string, path: string, report: Report): void {
  if ((statSync(path).mode & 0o044) !== 0) {
    report.warn(`${name} names a file that other users of this machine can read; chmod 600 it`)
  }
}
