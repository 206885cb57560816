import type { AuditSinks } from '../audit/sinks/sinks.ts'
import { bool, defaulted, type Fields, keyValues, text } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

const ENABLE_FIELDS = {
  type: defaulted(text, ''),
  description: defaulted(text, ''),
  options: keyValues,
  local: defaulted(bool, false),
} satisfies Fields

const SUDO = { sudo: true }

/** Where the audit log is shipped to, relative to `sys/`. All of it takes sudo, as in the dialect. */
export function sysAuditRoutes(sinks: AuditSinks): Route[] {
  return [
    {
      path: 'audit',
      on: {
        read: handle({}, () => listed(sinks), SUDO),
        list: handle(
          {},
          async () => ({ data: { keys: (await sinks.list()).map(({ path }) => path) } }),
          SUDO,
        ),
      },
    },
    {
      path: 'audit/:path*',
      on: {
        update: handle(
          ENABLE_FIELDS,
          async ({ capture, fields }) => {
            await sinks.enable(capture('path'), { ...fields, options: fields.options ?? {} })
            return undefined
          },
          SUDO,
        ),
        delete: handle(
          {},
          async ({ capture }) => {
            await sinks.disable(capture('path'))
            return undefined
          },
          SUDO,
        ),
      },
    },
  ]
}

async function listed(sinks: AuditSinks): Promise<Answer> {
  const all = await sinks.list()
  return {
    injected: true,
    data: Object.fromEntries(
      all.map(({ path, type, description, options, local, ...state }) => [
        path,
        { path, type, description, options, local, shipping: shown(state) },
      ]),
    ),
  }
}

type State = Pick<
  Awaited<ReturnType<AuditSinks['list']>>[number],
  'backlog' | 'lagSeconds' | 'failures' | 'error' | 'displaced'
>

/** Ours beside the dialect's: whether the sink gets its events. */
const shown = ({ backlog, lagSeconds, failures, error, displaced }: State) => ({
  backlog,
  lag_seconds: Math.max(0, Math.round((lagSeconds ?? 0) * 1_000) / 1_000),
  failures,
  error: displaced ? DISPLACED : error,
})

const DISPLACED = 'the ledger was moved to another server: disable this sink and enable it again'
