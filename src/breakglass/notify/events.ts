import { GRANT_EVENTS, type GrantEvent } from '../states.ts'

export type NotifyEvent = GrantEvent

/** What a destination may name in `events`. */
export const NOTIFY_EVENTS: readonly NotifyEvent[] = GRANT_EVENTS

const HEADLINES: Partial<Record<NotifyEvent, string>> = {
  submit: 'access is asked for',
  submit_sealed: 'SEALED emergency access is asked for',
  escalate: 'nobody has decided yet: the next approvers are asked',
  approve: 'a request got an approval',
  narrow: 'a request was narrowed',
  witness: 'a sealed request was witnessed',
  deny: 'a request was denied',
  withdraw: 'an approval was withdrawn',
  lose_vote: 'an approval no longer counts',
  cancel: 'a request was cancelled',
  void: 'a request was voided',
  activate: 'access is being activated',
  activated: 'access is ACTIVE',
  collect: 'fresh credentials were collected',
  activation_failed: 'access could not be activated',
  ask_extension: 'more time is asked for',
  extend: 'access was extended',
  deny_extension: 'more time was denied',
  suspend: 'access was suspended',
  resume: 'access was resumed',
  return: 'access was given back',
  revoke: 'access was revoked',
  ending_soon: 'access ends in five minutes or less',
  proved_gone: 'access has ended and is proved gone',
  stuck: 'the end of access CANNOT BE PROVED',
  abandon: 'a target was declared abandoned',
  foreign_change: 'an account was changed from outside: access is being ended',
  ratification_overdue: 'sealed access was not ratified in time',
  review_reminder: 'a review is due',
  review_overdue: 'a review is OVERDUE',
  review_ok: 'a review was closed without findings',
  review_flagged: 'a review found MISUSE',
  reopen: 'a review was opened again',
}

/** One line for people; of what has no line of its own, its name. */
export const headlineOf = (event: NotifyEvent): string => HEADLINES[event] ?? event.replaceAll('_', ' ')
