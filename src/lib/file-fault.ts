import { messageOf } from './errors.ts'

const FAULTS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EEXIST: 'it is there already',
  EISDIR: 'it is a folder',
  ELOOP: 'it is a link',
  ENOENT: 'it is not there',
  ENOTDIR: 'a part of its path is no folder',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
}

/**
 * Why a file could not be opened, in words, with the system's own code. `making` says that it would have been made: what
 * is not there then is its folder.
 */
export function fileFault(error: unknown, { making = false }: { making?: boolean } = {}): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === undefined) return messageOf(error)
  const words = making && code === 'ENOENT' ? 'its folder is not there' : FAULTS[code]
  return words === undefined ? code : `${words} (${code})`
}
