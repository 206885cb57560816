import { createHash } from 'node:crypto'
import { connect, type Socket } from 'node:net'

/** A login that has said who it is and holds back its proof, as a client may that waits for its lease to be ended. */
export type SlowLogin = {
  /** Gives the proof; answers whether the server let it in. */
  finish(): Promise<boolean>
  /** Runs a statement, and answers whether the server did it. */
  query(sql: string): Promise<boolean>
  leave(): void
}

const FLAGS = {
  longPassword: 1,
  protocol41: 1 << 9,
  transactions: 1 << 13,
  secureConnection: 1 << 15,
  pluginAuth: 1 << 19,
}
const UTF8MB4 = 45
const MAX_PACKET = 1 << 24
const SWITCH = 0xfe
const FAILED = 0xff

/** Says that it speaks another plugin than the account has, so that the server asks again, and then is silent. */
export async function startSlowLogin(port: number, username: string, password: string): Promise<SlowLogin> {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  const read = packetReader(socket)
  await read()
  const flags = Object.values(FLAGS).reduce((all, flag) => all | flag, 0)
  const head = Buffer.alloc(32)
  head.writeUInt32LE(flags, 0)
  head.writeUInt32LE(MAX_PACKET, 4)
  head.writeUInt8(UTF8MB4, 8)
  const noProof = Buffer.from([0])
  socket.write(
    packet(1, head, Buffer.from(`${username}\0`), noProof, Buffer.from('another_password_plugin\0')),
  )
  const asked = await read()
  if (asked[0] !== SWITCH) throw new Error(`the server did not ask again: ${asked}`)
  const salt = asked.subarray(asked.indexOf(0) + 1).subarray(0, 20)
  const run = async (number: number, ...parts: Buffer[]): Promise<boolean> => {
    socket.write(packet(number, ...parts))
    return (await read().catch(() => Buffer.from([FAILED])))[0] !== FAILED
  }
  return {
    finish: () => run(3, proof(password, salt)),
    query: (sql) => run(0, Buffer.from([3]), Buffer.from(sql)),
    leave: () => socket.destroy(),
  }
}

function packet(number: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const header = Buffer.alloc(4)
  header.writeUIntLE(body.length, 0, 3)
  header.writeUInt8(number, 3)
  return Buffer.concat([header, body])
}

/** The next packet's content; fails when the server hangs up. */
function packetReader(socket: Socket): () => Promise<Buffer> {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let held = Buffer.alloc(0)
  return async () => {
    for (;;) {
      const length = held.length < 4 ? Number.POSITIVE_INFINITY : held.readUIntLE(0, 3)
      if (held.length >= 4 + length) {
        const content = held.subarray(4, 4 + length)
        held = held.subarray(4 + length)
        return content
      }
      const { done, value } = await chunks.next()
      if (done) throw new Error('the server hung up')
      held = Buffer.concat([held, value])
    }
  }
}

const sha1 = (...parts: Buffer[]): Buffer => createHash('sha1').update(Buffer.concat(parts)).digest()

/** Of `mysql_native_password`. */
function proof(password: string, salt: Buffer): Buffer {
  const hashed = sha1(Buffer.from(password))
  const mask = sha1(salt, sha1(hashed))
  return Buffer.from(hashed.map((byte, i) => byte ^ (mask[i] as number)))
}
