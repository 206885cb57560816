import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './run.mjs'

/** Do this while no other process does it in this clone: two `npm start` at once must not both install. */
export async function alone(work) {
  const release = await takeLock()
  try {
    return await work()
  } finally {
    release()
  }
}

// The lock is a socket that one process listens on: the system lets go of it whatever ends the process.
async function takeLock() {
  const key = createHash('sha256').update(ROOT).digest('hex').slice(0, 16)
  // A name without a file, which only Linux has; elsewhere a file, which may outlive its process.
  const name = `leasehold-build-${key}`
  const address = process.platform === 'linux' ? `\0${name}` : join(tmpdir(), name)
  for (let waiting = false; ; waiting = true) {
    const server = await listen(address)
    if (server) return () => server.close()
    if (process.platform !== 'linux' && !(await answers(address))) rmSync(address, { force: true })
    else if (!waiting) console.error('waiting for another process that installs or builds here')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function listen(address) {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)))
    server.listen(address, () => resolve(server))
  })
}

function answers(address) {
  return new Promise((resolve) => {
    const socket = connect(address)
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
