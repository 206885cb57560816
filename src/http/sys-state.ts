import { BrokerError } from '../lib/errors.ts'
import { bool, type Decoded, defaulted, int } from './fields.ts'
import { handleOpen, type OpenCall, type Route } from './route.ts'

type Parts = {
  version: string
  clusterName: string
  clusterId: string
  /** Asks the ledger; rejects when the ledger does not answer. */
  initialized(): Promise<boolean>
}

/** A ledger that takes longer than this to say anything is down as far as a load balancer is concerned. */
const LEDGER_ANSWER_MS = 2_000

/** The dialect's names for the status of each state; those for states we never have are known and not used. */
const HEALTH = {
  activecode: defaulted(int, 200),
  sealedcode: defaulted(int, 503),
  uninitcode: defaulted(int, 501),
  standbycode: int,
  standbyok: bool,
  perfstandbyok: bool,
  drsecondarycode: int,
  performancestandbycode: int,
  haunhealthycode: int,
  removedcode: int,
}

/** `sys/health` and its like: no token, no envelope. Every server is active; none is ever sealed or standby. */
export function systemStateRoutes(parts: Parts): Route[] {
  const ledger = watchLedger(parts.initialized)
  return [
    { path: 'health', on: { read: handleOpen(HEALTH, (call) => health(parts, ledger, call)) } },
    {
      path: 'seal-status',
      on: {
        read: handleOpen({}, async () => ({
          bare: {
            type: 'none',
            initialized: await ledger.initialized(),
            sealed: false,
            t: 0,
            n: 0,
            progress: 0,
            nonce: '',
            version: parts.version,
            build_date: '',
            migration: false,
            cluster_name: parts.clusterName,
            cluster_id: parts.clusterId,
            recovery_seal: false,
            storage_type: 'postgresql',
          },
        })),
      },
    },
    {
      path: 'init',
      on: { read: handleOpen({}, async () => ({ bare: { initialized: await ledger.initialized() } })) },
    },
    {
      path: 'leader',
      on: {
        read: handleOpen({}, async () => ({
          bare: { ha_enabled: false, is_self: false, leader_address: '', leader_cluster_address: '' },
        })),
      },
    },
  ]
}

/**
 * A server that cannot reach the ledger can grant nothing, so load balancers must hear of it: it answers with the
 * code of a sealed server, and `ledger` says what is wrong.
 */
async function health(parts: Parts, ledger: Ledger, { fields }: OpenCall<typeof HEALTH>) {
  const state = await ledger.state()
  return {
    status: checkedCode(fields, CODE_OF[state]),
    bare: {
      initialized: state === 'down' ? ledger.lastKnown() : state === 'ready',
      sealed: false,
      standby: false,
      performance_standby: false,
      replication_performance_mode: 'disabled',
      replication_dr_mode: 'disabled',
      server_time_utc: Math.trunc(Date.now() / 1_000),
      version: parts.version,
      cluster_name: parts.clusterName,
      cluster_id: parts.clusterId,
      ledger: state === 'down' ? 'unreachable' : 'reachable',
    },
  }
}

type LedgerState = 'ready' | 'empty' | 'down'

const CODE_OF = { ready: 'activecode', empty: 'uninitcode', down: 'sealedcode' } as const satisfies Record<
  LedgerState,
  keyof typeof HEALTH
>

/** Every code must be a status that ends a request, or the call is refused, whichever of them would be used. */
function checkedCode(fields: Decoded<typeof HEALTH>, name: (typeof CODE_OF)[LedgerState]): number {
  const codes = Object.entries(fields).filter(([field]) => field.endsWith('code'))
  if (codes.some(([, code]) => typeof code !== 'number' || code < 200 || code > 599)) {
    throw new BrokerError('invalid_request', '')
  }
  return fields[name]
}

type Ledger = { state(): Promise<LedgerState>; lastKnown(): boolean; initialized(): Promise<boolean> }

function watchLedger(ask: () => Promise<boolean>): Ledger {
  /** A ledger that was initialised once stays so, and we go on saying it while the ledger is down. */
  let known = false
  let asking: Promise<LedgerState> | undefined

  const askOnce = async (): Promise<LedgerState> => {
    try {
      const initialized = await within(LEDGER_ANSWER_MS, ask())
      known ||= initialized
      return initialized ? 'ready' : 'empty'
    } catch {
      return 'down'
    } finally {
      asking = undefined
    }
  }
  // Anyone may ask, so callers share one question.
  const state = (): Promise<LedgerState> => {
    asking ??= askOnce()
    return asking
  }
  return {
    state,
    lastKnown: () => known,
    initialized: async () => {
      if (!known && (await state()) === 'down') {
        throw new BrokerError('unavailable', 'the ledger cannot be reached')
      }
      return known
    },
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
