import { readFile } from 'node:fs/promises'

/** The PEM texts to serve HTTPS with, as the option they are given in; nothing when no files are named. */
export async function readTls(
  files: { cert: string; key: string; clientCa: string | undefined } | undefined,
) {
  if (!files) return {}
  const [cert, key] = await Promise.all([readFile(files.cert, 'utf8'), readFile(files.key, 'utf8')])
  const clientCa = files.clientCa === undefined ? {} : { clientCa: await readFile(files.clientCa, 'utf8') }
  return { tls: { cert, key, ...clientCa } }
}
