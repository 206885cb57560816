import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { freePort } from './processes.ts'

export type RedisServer = { url: string; stop(): Promise<void> }

/** The server that TEST_REDIS_URL names, else one of our own when the program is on the path; else none. */
export async function findRedis(folder: string): Promise<RedisServer | undefined> {
  const given = process.env.TEST_REDIS_URL
  if (given) return { url: given, stop: async () => {} }
  const port = await freePort()
  const settings = { port, bind: '127.0.0.1', dir: folder, save: '', hz: 100, appendonly: 'yes' }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn('redis-server', args, { stdio: 'ignore' })
  const started = await Promise.race([
    once(child, 'spawn').then(() => true),
    once(child, 'error').then(() => false),
  ]).catch(() => false)
  if (!started || !(await answers(port))) return undefined
  return {
    url: `redis://127.0.0.1:${port}`,
    stop: async () => {
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

async function answers(port: number): Promise<boolean> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const client = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: null })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.ping()
      return true
    } catch {
      await sleep(20)
    } finally {
      client.disconnect()
    }
  }
  return false
}
