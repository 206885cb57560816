/** Whom a newcomer may play. What they may do is the break-glass policy's to say, by their groups. */
export type Person = {
  sub: string
  name: string
  email: string
  groups: readonly string[]
  /** What they are, for the page on which one of them is chosen. */
  work: string
}

export const PEOPLE: readonly Person[] = [
  {
    sub: 'ada',
    name: 'Ada Okafor',
    email: 'ada@leasehold.example',
    groups: ['engineering'],
    work: 'engineer: asks for access',
  },
  {
    sub: 'ben',
    name: 'Ben Santos',
    email: 'ben@leasehold.example',
    groups: ['security-oncall'],
    work: 'on call for security: approves',
  },
  {
    sub: 'chloe',
    name: 'Chloe Weber',
    email: 'chloe@leasehold.example',
    groups: ['service-owner', 'security-officers'],
    work: 'owner of the service, and security officer: approves, suspends',
  },
  {
    // Who reviews must be neither the one who asked nor one of the two who approved.
    sub: 'dana',
    name: 'Dana Lind',
    email: 'dana@leasehold.example',
    groups: ['audit'],
    work: 'auditor: reviews afterwards',
  },
  {
    // Whoever was the witness of a sealed request cannot ratify it, and that takes two.
    sub: 'emil',
    name: 'Emil Novak',
    email: 'emil@leasehold.example',
    groups: ['security-oncall', 'service-owner'],
    work: 'on call for security, and owner of the service: approves, ratifies',
  },
]

/** How somebody proves who they are: methods (RFC 8176) and class as the id token has them. */
export type Proof = { id: string; label: string; amr: readonly string[]; acr: string }

export const PROOFS: readonly Proof[] = [
  { id: 'code', label: 'With a second factor', amr: ['pwd', 'otp'], acr: 'two-factors' },
  { id: 'key', label: 'With a security key', amr: ['pwd', 'hwk'], acr: 'hardware' },
  { id: 'password', label: 'Without a second factor', amr: ['pwd'], acr: 'one-factor' },
]
