/**
 * `NAME=value` lines as Docker and systemd read them: blank lines and `#` comments skipped, a leading `export` and
 * one pair of surrounding quotes taken off, nothing expanded. A line that is none of these throws, by its number only.
 */
export function parseEnvFile(text: string): Record<string, string> {
  const values: Record<string, string> = {}
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    const [, name, value] = /^(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)$/.exec(trimmed) ?? []
    if (name === undefined || value === undefined) throw new Error(`line ${index + 1} is not NAME=value`)
    if (name in values) throw new Error(`line ${index + 1} sets ${name} a second time`)
    values[name] = /^(["']).*\1$/.test(value) && value.length > 1 ? value.slice(1, -1) : value
  }
  return values
}
