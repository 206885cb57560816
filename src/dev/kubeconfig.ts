import { readFile } from 'node:fs/promises'
import { messageOf } from '../lib/errors.ts'

/** A cluster and how to log in there, as the current context of a kubeconfig has it. */
export type Kubeconfig = {
  host: string
  caPem: string
  token: string | undefined
  client: { certPem: string; keyPem: string } | undefined
}

/** Throws a sentence that names the file. Credentials that a program would have to be run for are not taken. */
export async function readKubeconfig(path: string): Promise<Kubeconfig> {
  const { KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  try {
    config.loadFromFile(path)
  } catch (error) {
    // A parser's own words quote the lines that it stumbled over, and these hold credentials.
    const problem = error instanceof Error && 'code' in error ? messageOf(error) : 'it is not a kubeconfig'
    throw new Error(`the kubeconfig ${path} cannot be read: ${problem}`)
  }
  const [cluster, user] = [config.getCurrentCluster(), config.getCurrentUser()]
  if (!cluster || !user) throw new Error(`the kubeconfig ${path} has no current context`)
  const [ca, cert, key] = await Promise.all([
    pemOf(cluster.caData, cluster.caFile),
    pemOf(user.certData, user.certFile),
    pemOf(user.keyData, user.keyFile),
  ])
  const token = user.token || undefined
  const client = cert !== undefined && key !== undefined ? { certPem: cert, keyPem: key } : undefined
  if (token === undefined && !client) {
    throw new Error(
      `the kubeconfig ${path} holds neither a token nor a client certificate for "${user.name}"`,
    )
  }
  return { host: cluster.server, caPem: ca ?? '', token, client }
}

async function pemOf(data: string | undefined, file: string | undefined): Promise<string | undefined> {
  if (data) return Buffer.from(data, 'base64').toString('utf8')
  return file ? readFile(file, 'utf8') : undefined
}
