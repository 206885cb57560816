import { parseDuration } from '../lib/duration.ts'
import { BrokerError } from '../lib/errors.ts'
import type { AclOperation, AclReason } from './acl/acl.ts'
import type { ConditionCheck } from './acl/merged.ts'
import type { Spellings } from './acl/parameters.ts'
import type { PolicyIdentity } from './acl/template.ts'
import { type Condition, compileCondition, type Explanation, prepareContext } from './condition.ts'
import { memo } from './condition-memo.ts'
import type { VariableName } from './condition-values.ts'
import { type ApprovalFacts, type DecisionContext, decisionContext, type RoleFacts } from './context.ts'
import type { Compiled, Policies } from './policies.ts'
import { type Principal, principalId } from './principal.ts'

/** May this principal do this, here, now? */
export type Question = {
  principal: Principal
  operation: AclOperation
  /** Decoded, without `/v1/`; ends in a slash only for `list`. */
  path: string
  /** The endpoint needs the capability `sudo` besides. */
  sudo: boolean
  /** Every field as it was sent. */
  parameters: Readonly<Record<string, unknown>>
  /** Of those fields of the endpoint that go by older names too. */
  spellings?: Spellings
  wrapTtlSeconds?: number
  sourceAddress: string
  namespace: string
  tls: boolean
  /** The ledger's revision and time at which it is decided. */
  revision: number
  now: Date
  /** The role that is asked for, where the path asks for one. */
  role?: { mountId: string; mountPath: string; name: string }
  /** A lease that was granted is asked about again: it does not count among those held, nor do its parameters. */
  again?: boolean
  /** Taken for the count of the principal's live leases, in place of counting. */
  leasesHeld?: number
  /** People have approved it: what no rule grants is granted by them, but not what a rule denies, nor a role's condition. */
  approvedAs?: LiveGrant
}

/** Which rule of which policy version decided. For root there is no rule. */
export type DecidedBy = { policy: string; version?: number; path?: string; line?: number }

export type Decision = {
  allowed: boolean
  why: AclReason | 'role_condition'
  by: DecidedBy | null
  conditions: readonly ConditionCheck[]
  parameter?: string
  /** The live grant that a condition saw, of those that held: what is given by this decision is given under it. */
  grant?: LiveGrant
}

/** A break-glass grant in force that covers the path. */
export type LiveGrant = Omit<ApprovalFacts, 'live'>

/** The same, with what each part of each condition came to. */
export type Explained = Decision & {
  explanations: (Omit<ConditionCheck, 'text'> & { explanation: Explanation })[]
  roleCondition?: Explanation
  /** The path asks for a role that there is not. */
  noSuchRole?: true
}

/** What a pattern of a policy grants. `exact`: it covers one path. */
export type GrantedPattern = { pattern: string; exact: boolean; capabilities: string[] }

/** A question about all that may be done. */
type Anywhere = Omit<Question, 'operation' | 'sudo' | 'parameters' | 'spellings'>

export type Authorizer = {
  decide(question: Question): Promise<Decision>
  /** Decides by the same code, and tells why. */
  explain(question: Question): Promise<Explained>
  /** What the principal may do at a path, in the dialect's words and sorted; `['root']` is everything. */
  capabilities(question: Anywhere): Promise<string[]>
  /** The same for every pattern in the policies of the principal, where the conditions hold; undefined for root. */
  patterns(question: Anywhere): Promise<GrantedPattern[] | undefined>
}

export type AuthorizerParts = {
  policies: Policies
  /** What conditions may know of a role, and the condition it states itself; undefined when there is none. */
  roleOf(
    revision: number,
    role: NonNullable<Question['role']>,
  ): Promise<{ facts: RoleFacts; condition: string | undefined } | undefined>
  /** Live leases of a principal. */
  leasesHeld(principalId: string): Promise<number>
  /** The grant of a principal, in force now, that covers a path. */
  liveGrant(
    principalId: string,
    path: string,
    parameters: Question['parameters'] | undefined,
  ): Promise<LiveGrant | undefined>
}

const ROOT: DecidedBy = { policy: 'root' }
/** The server's own, for what conditions say of hours without naming a zone. */
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone

export const isRoot = ({ policies }: Pick<Principal, 'policies'>): boolean => policies.includes('root')

/** Deny by default; the role's own condition holds whatever policy says, for root too. */
export function createAuthorizer(parts: AuthorizerParts): Authorizer {
  const conditionOf = memo(readKept)

  /** What the decision rests on, looked up only as far as some condition asks. */
  const gather = async (question: Anywhere & Partial<Question>) => {
    const { principal, revision, role } = question
    const [known, compiled] = await Promise.all([
      role && parts.roleOf(revision, role),
      isRoot(principal)
        ? undefined
        : parts.policies.compiled(revision, principal.policies, identityOf(principal)),
    ])
    const condition = known?.condition ? conditionOf(known.condition) : undefined
    const needs = (name: VariableName) => compiled?.needs.has(name) || condition?.variables.has(name)
    const [leasesHeld, grant] = await Promise.all([
      needs('leases') ? leasesOf(question) : undefined,
      question.approvedAs ??
        (needs('approval')
          ? parts.liveGrant(principalId(principal), question.path, question.parameters)
          : undefined),
    ])
    const context = prepareContext(contextOf(question, { role: known?.facts, leasesHeld, approval: grant }))
    return { compiled, condition, context, grant, noSuchRole: role !== undefined && !known }
  }
  const leasesOf = async ({ principal, leasesHeld, again }: Partial<Question> & { principal: Principal }) =>
    leasesHeld ?? Math.max(0, (await parts.leasesHeld(principalId(principal))) - (again ? 1 : 0))
  type Gathered = Awaited<ReturnType<typeof gather>>

  const judge = (question: Question, { compiled, condition, context, grant }: Gathered): Decision => {
    const byRule = compiled ? byPolicy(compiled, question, context) : ROOT_MAY
    const decision = question.approvedAs ? approved(byRule) : byRule
    if (decision.allowed && condition && !condition.holds(context)) {
      return { ...decision, allowed: false, why: 'role_condition' }
    }
    if (!grant || !decision.allowed) return decision
    const held = decision.conditions.flatMap(({ held, text }) => (held ? conditionOf(text) : []))
    const sawIt = [...held, ...(condition ? [condition] : [])].some(({ variables }) =>
      variables.has('approval'),
    )
    return sawIt ? { ...decision, grant } : decision
  }

  return {
    decide: async (question) => judge(question, await gather(question)),
    async explain(question) {
      const gathered = await gather(question)
      const decision = judge(question, gathered)
      const explanations = decision.conditions.map(({ text, ...check }) => ({
        ...check,
        explanation: conditionOf(text).explain(gathered.context),
      }))
      return {
        ...decision,
        explanations,
        ...(gathered.condition && { roleCondition: gathered.condition.explain(gathered.context) }),
        ...(gathered.noSuchRole && { noSuchRole: true }),
      }
    },
    async capabilities(question) {
      const { compiled, context } = await gather(question)
      return compiled ? compiled.acl.capabilities(question.path, context) : ['root']
    },
    async patterns(question) {
      const { compiled, context } = await gather(question)
      return compiled?.acl.patterns(context)
    },
  }
}

/** A role's condition was checked when it was written; a version of ours that reads it no more must let nobody by. */
function readKept(text: string): Condition {
  try {
    return compileCondition(text)
  } catch (cause) {
    throw new BrokerError('unavailable', 'the condition cannot be read by this version', { cause })
  }
}

const approved = (decision: Decision): Decision =>
  decision.allowed || decision.why === 'denied' ? decision : { ...decision, allowed: true, why: 'granted' }

const ROOT_MAY: Decision = { allowed: true, why: 'granted', by: ROOT, conditions: [] }

function byPolicy(
  { acl }: Compiled,
  question: Question,
  context: Parameters<Compiled['acl']['decide']>[1],
): Decision {
  const { operation, path, parameters, spellings, wrapTtlSeconds, sudo, again = false } = question
  const verdict = acl.decide(
    {
      operation,
      path,
      parameters,
      sudo,
      again,
      ...(spellings && { spellings }),
      ...(wrapTtlSeconds !== undefined && { wrapTtlSeconds }),
    },
    context,
  )
  const { deciding, ...rest } = verdict
  return { ...rest, by: deciding ?? null }
}

type LookedUp = {
  role: RoleFacts | undefined
  leasesHeld: number | undefined
  approval: LiveGrant | undefined
}

function contextOf(
  question: Anywhere & Partial<Question>,
  { role, leasesHeld, approval }: LookedUp,
): DecisionContext {
  const { principal, path, operation = '', parameters = {}, spellings } = question
  const { kind, mount, subject, claims, groups } = principal.identity
  const { displayName } = principal
  const metadata = provenMetadata(principal)
  return decisionContext({
    principal: { kind, mount, subject, claims, groups, displayName, metadata },
    ...(role && { role }),
    request: {
      operation,
      path,
      time: question.now,
      zone: ZONE,
      sourceAddress: question.sourceAddress,
      namespace: question.namespace,
      requestedTtlSeconds: requestedTtl(parameters, spellings),
      tls: question.tls,
    },
    ...(leasesHeld !== undefined && { leasesHeld }),
    ...(approval && { approval }),
  })
}

/** Engines call it `ttl`, renewals `increment`. What is no duration is refused later, by its field. */
function requestedTtl(parameters: Question['parameters'], spellings: Spellings | undefined): number {
  const sent = (name: string) =>
    (spellings?.get(name) ?? [name])
      .map((spelling) => parameters[spelling])
      .find((value) => (value ?? undefined) !== undefined)
  const asked = sent('ttl') ?? sent('increment')
  return (typeof asked === 'string' || typeof asked === 'number' ? parseDuration(asked) : undefined) ?? 0
}

/**
 * Who logged in and may make tokens gives those any metadata, so what the login said counts for all of them. Without
 * a login nobody has proved anything, and it is the maker's word.
 */
const provenMetadata = ({ entityId, identity, metadata }: Principal): Principal['metadata'] =>
  entityId === '' ? metadata : identity.metadata

/** What fills the templates of policy paths. */
function identityOf({ entityId, identity }: Principal): PolicyIdentity {
  if (entityId === '') return {}
  const { mountAccessor, subject: name, metadata } = identity
  const alias = { mountAccessor, id: entityId, name, metadata }
  return {
    entity: { id: entityId, name: `entity_${entityId}`, metadata: {}, aliases: [alias] },
    groups: identity.groups.map((name) => ({ id: name, name })),
  }
}
