// Loaded before one of our processes (`node --import`), to stop it at an exact statement to the ledger or a target.
// It knows only the driver: the process itself runs as it was built.
import { writeSync } from 'node:fs'
import pg from 'pg'

const STDERR = 2
const LABEL_LENGTH = 2_000
/** Ours to the ledger and to targets; the queue's own connections have another name. */
const APPLICATION = 'leasehold'

const query = pg.Client.prototype.query
const held = new Map()
let plan
let counted = 0
let counting = false

const follow = (next) => {
  plan = next && { ...next, from: next.from === undefined ? undefined : new RegExp(next.from) }
  counted = 0
  counting = plan !== undefined && plan.from === undefined
}

follow(process.env.GATE_PLAN ? JSON.parse(process.env.GATE_PLAN) : undefined)

process.on('message', (message) => {
  if ('plan' in message) follow(message.plan ?? undefined)
  if ('release' in message) {
    held.get(message.release)?.()
    held.delete(message.release)
  }
  process.send({ heard: message.id })
})
// Alone it must not keep the process from ending.
process.channel?.unref()

const labelOf = (text) => text.replace(/\s+/g, ' ').trim().slice(0, LABEL_LENGTH)

function die(at, label, backend) {
  writeSync(STDERR, `${JSON.stringify({ diedAt: at, label, backend })}\n`)
  process.kill(process.pid, 'SIGKILL')
  for (;;); // nothing of ours runs between the signal and its effect
}

/** Runs the statement and answers as if the connection had broken before its answer. */
function lose(client, args) {
  const lost = () => new Error('Connection terminated unexpectedly')
  const callback = args.at(-1)
  if (typeof callback === 'function') {
    query.apply(client, [...args.slice(0, -1), () => callback(lost())])
    return undefined
  }
  return query.apply(client, args).then(() => Promise.reject(lost()))
}

function hold(client, args, at, label) {
  const released = new Promise((resolve) => held.set(at, resolve))
  process.send({ held: at, label })
  const answer = released.then(() => query.apply(client, args))
  // With a callback the answer goes there, and nobody waits for a promise.
  return typeof args.at(-1) === 'function' ? void answer : answer
}

pg.Client.prototype.query = function (...args) {
  const text = typeof args[0] === 'string' ? args[0] : (args[0]?.text ?? '')
  const ours = this.connectionParameters.application_name === APPLICATION
  if (!plan || !ours) return query.apply(this, args)
  counting ||= plan.from.test(text)
  if (!counting || (plan.only !== undefined && !new RegExp(plan.only).test(text)))
    return query.apply(this, args)
  counted += 1
  const at = counted
  if (plan.at !== at) return query.apply(this, args)
  const label = labelOf(text)
  switch (plan.what) {
    case 'die before':
      return die(at, label, this.processID)
    case 'die after sending': {
      const answer = query.apply(this, args)
      setImmediate(() => die(at, label, this.processID))
      return answer
    }
    case 'lose the answer':
      return lose(this, args)
    default:
      return hold(this, args, at, label)
  }
}
