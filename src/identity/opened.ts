/**
 * What was opened for the configuration of each mount, until that says something else. What is replaced is let go of
 * as it is, since logins may be using it.
 */
export function openedFor<Config, Opened>(
  open: (config: Config) => Opened,
): (mountId: string, config: Config) => Opened {
  const kept = new Map<string, { config: Config; opened: Opened }>()
  return (mountId, config) => {
    const known = kept.get(mountId)
    if (known?.config === config) return known.opened
    // Whatever changes in the ledger, the configuration is read again, and mostly it is the same.
    const isSame = known !== undefined && JSON.stringify(known.config) === JSON.stringify(config)
    const opened = isSame ? known.opened : open(config)
    kept.set(mountId, { config, opened })
    return opened
  }
}
