import { headlineOf } from './events.ts'
import type { Message, Person } from './message.ts'

/** A body as Slack's incoming webhooks take it, and those who speak their format. */
export type SlackBody = { text: string; blocks: object[] }

const FIELD_CHARACTERS = 1_900
const HEADER_CHARACTERS = 150

/**
 * What people have written stands in `plain_text` alone, where nothing is a mention, a link or formatting; the line that
 * a phone shows, which Slack does read as markup, has nothing in it but our own words and names of plain letters.
 */
export function slackBody({ id, event, request, actor, detail }: Message): SlackBody {
  const headline = headlineOf(event)
  const comment = typeof detail.comment === 'string' ? detail.comment : ''
  const fields: [string, string][] = [
    ['Request', `${request.id} (${request.state}, ${request.lane.replace('_', ' ')})`],
    ['Asked by', named(request.requester)],
    ...(actor ? [['By', named(actor)] as [string, string]] : []),
    ['For', request.roles.map(roleWords).join(', ')],
    ['How long', `${Math.round(request.duration_seconds / 60)} min`],
    ['Why', request.reason],
    ...(request.ticket === ''
      ? []
      : [['Ticket', `${request.ticket} (${request.ticket_state})`] as [string, string]]),
    ...(comment === '' ? [] : [['Comment', comment] as [string, string]]),
    ...approvalsIn(detail),
    ...deadlineOf(request),
  ]
  return {
    text: escaped(`Break-glass: ${headline} (${speakable(request.requester.display_name)}, ${request.id})`),
    blocks: [
      { type: 'header', text: plain(`Break-glass: ${headline}`, HEADER_CHARACTERS) },
      ...fields.map(([name, value]) => ({
        type: 'section',
        text: plain(`${name}: ${value}`, FIELD_CHARACTERS),
      })),
      { type: 'context', elements: [plain(`policy ${request.policy}, message ${id}`, FIELD_CHARACTERS)] },
    ],
  }
}

const plain = (text: string, most: number) => ({
  type: 'plain_text',
  text: text.length > most ? `${text.slice(0, most - 1)}…` : text,
  emoji: false,
})

const named = ({ display_name, subject, mount }: Person): string =>
  display_name === '' || display_name === subject
    ? `${subject} of ${mount}`
    : `${display_name} (${subject} of ${mount})`

const roleWords = ({ path, target, environment }: Message['request']['roles'][number]): string =>
  environment === '' ? `${path} on ${target}` : `${path} on ${target} (${environment})`

/** Where an event says who has agreed so far. */
const approvalsIn = ({ approved_by: names }: Message['detail']): [string, string][] =>
  Array.isArray(names) && names.length > 0 ? [['Approved so far by', names.join(', ')]] : []

/** By when somebody has to do something. */
function deadlineOf(request: Message['request']): [string, string][] {
  const { state, pending_expires_at, activate_by, expires_at, review_due_at } = request
  if (state === 'pending' && pending_expires_at) return [['To be decided by', pending_expires_at]]
  if (state === 'approved' && activate_by) return [['To be activated by', activate_by]]
  if ((state === 'active' || state === 'suspended') && expires_at) return [['Ends at', expires_at]]
  if (state.startsWith('review_') && review_due_at) return [['To be reviewed by', review_due_at]]
  return []
}

const ORDINARY_NAME = /^[\p{L}\p{N} ',()-]{1,80}$/u

/** A name is whatever its issuer lets people call themselves. */
const speakable = (name: string): string => (ORDINARY_NAME.test(name) ? name : 'somebody')

/** The three characters that Slack's markup begins with, in the way it asks for. */
const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
