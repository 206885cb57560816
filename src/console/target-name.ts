type OnTarget = {
  target: string
  engine?: string
  /** Of a role or a mount: what it begins with is where the target is reached. */
  path: string
}

/** What people call a target. A cluster is all there is at its mount, and has no name but that. */
export const targetName = ({ target, engine, path }: OnTarget): string =>
  engine === 'kubernetes' ? path.replace(/\/(?:creds\/.*)?$/, '') : target
