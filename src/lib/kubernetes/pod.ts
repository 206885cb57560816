import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Where Kubernetes puts the CA of its API server and a pod's own token. */
export const POD_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount'

/**
 * What one of the files holds now, without blanks around it; undefined when it cannot be read, which is how it is
 * outside a pod. Read each time: Kubernetes replaces the token every hour or so, and the reading takes microseconds.
 */
export async function podFile(folder: string, name: 'ca.crt' | 'token'): Promise<string | undefined> {
  try {
    return (await readFile(join(folder, name), 'utf8')).trim() || undefined
  } catch {
    return undefined
  }
}
