/** Where a story is told: a line for each step with the time it took, and what was seen below it. */
export type Stage = {
  /** Numbers and times the step. What `run` says is shown below it; what it throws is shown and thrown on. */
  step<T>(title: string, run: (say: (line: string) => void) => Promise<T>): Promise<T>
  say(line: string): void
}

const TITLE_WIDTH = 56

/**
 * Once `interrupted` rejects, the step in hand and all after it fail with that. Colours on a terminal only, and not
 * where NO_COLOR asks for none: a log gets the same words.
 */
export function openStage(
  out: NodeJS.WriteStream,
  env: NodeJS.ProcessEnv,
  interrupted: Promise<never>,
): Stage {
  interrupted.catch(() => {}) // the step under way tells of it
  const colours = out.isTTY === true && !env.NO_COLOR
  const paint = (code: number, text: string): string => (colours ? `\x1b[${code}m${text}\x1b[0m` : text)
  const detail = (line: string): string => `      ${paint(2, line)}\n`
  let steps = 0
  return {
    async step(title, run) {
      steps += 1
      const lines: string[] = []
      out.write(`${String(steps).padStart(2)}  ${title} ${paint(2, '.'.repeat(TITLE_WIDTH - title.length))} `)
      const startedAt = performance.now()
      try {
        const result = await Promise.race([run((line) => void lines.push(line)), interrupted])
        out.write(`${paint(32, took(performance.now() - startedAt))}\n`)
        return result
      } catch (error) {
        out.write(`${paint(31, 'failed')}\n`)
        throw error
      } finally {
        for (const line of lines) out.write(detail(line))
      }
    },
    say: (line) => void out.write(`${line}\n`),
  }
}

const took = (ms: number): string =>
  (ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`).padStart(7)
