/** Where in a cluster a role may be had, of one of which an ask has to say it. */
export type NamespaceChoice = {
  listed: string[]
  /** Any other will do as well. */
  any: boolean
  /** Of labels that one which is not listed may have instead; '' for none. */
  selector: string
}

/** What Kubernetes takes for one. */
const NAMESPACE_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

type Offered = { roles: readonly { path: string; kubernetes_namespaces: NamespaceChoice | null }[] }
type Chosen = { roles: readonly string[]; namespaces: Readonly<Record<string, string>> }

/** The chosen roles of which it has to be said where they are to be had. */
export const rolesToPlace = (
  { roles }: Offered,
  chosen: Pick<Chosen, 'roles'>,
): { path: string; choice: NamespaceChoice }[] =>
  roles.flatMap(({ path, kubernetes_namespaces: choice }) =>
    choice && chosen.roles.includes(path) ? [{ path, choice }] : [],
  )

/** Whether there is nothing to type: one of those listed, or none. */
export const isListOnly = ({ any, selector }: NamespaceChoice): boolean => !any && selector === ''

/** What will do besides those that are listed, for people. */
export function othersWords({ listed, any, selector }: NamespaceChoice): string {
  const words = any ? 'any other of the cluster' : `one whose labels match ${selector}`
  if (listed.length > 0) return `One of the list, or ${words}`
  return any ? 'Any of the cluster' : `One whose labels match ${selector}`
}

/** What the server would refuse, by the path of the role; what only the cluster can tell it finds out later. */
export function namespaceProblems(policy: Offered, chosen: Chosen): Record<string, string> {
  const problems = rolesToPlace(policy, chosen).map(({ path, choice }) => ({
    path,
    problem: problemOf(choice, (chosen.namespaces[path] ?? '').trim()),
  }))
  return Object.fromEntries(
    problems.flatMap(({ path, problem }) => (problem === undefined ? [] : [[path, problem]])),
  )
}

function problemOf(choice: NamespaceChoice, name: string): string | undefined {
  if (name === '') return 'Say in which namespace: for another one, ask again'
  if (!NAMESPACE_NAME.test(name)) return 'This is not the name of a namespace'
  return isListOnly(choice) && !choice.listed.includes(name) ? 'The role is not for this one' : undefined
}

/** The chosen roles, as they are sent: with where, of those of which it has to be said. */
export function sentRoles(
  policy: Offered,
  { roles, namespaces }: Chosen,
): (string | { path: string; kubernetes_namespace: string })[] {
  const placed = new Set(rolesToPlace(policy, { roles }).map(({ path }) => path))
  return roles.map((path) =>
    placed.has(path) ? { path, kubernetes_namespace: (namespaces[path] ?? '').trim() } : path,
  )
}
