import { percentile, perSecond, type Sample } from './load.ts'

/** One line of the result: a figure of ours and, where there is one, its limit, measured in the same run. */
export type Figure = {
  name: string
  /** Ours, in `unit`. */
  value: number
  unit: string
  p50Ms?: number
  p99Ms?: number
  limit?: { name: string; value: number }
  /** Ours against the limit: a share of it or, for times and sizes, of what is allowed. */
  ratio?: number
  aim?: { text: string; met: boolean }
}

/** How often something is done, against how often its limit is. */
export const rateFigure = (name: string, ours: Sample, limitName: string, limit: Sample): Figure => ({
  name,
  value: perSecond(ours),
  unit: '/s',
  p50Ms: percentile(ours.latenciesMs, 0.5),
  p99Ms: percentile(ours.latenciesMs, 0.99),
  limit: { name: limitName, value: perSecond(limit) },
  ratio: perSecond(ours) / perSecond(limit),
})

const HEADINGS = ['what', 'measured', 'p50 / p99', 'limit, in the same run', 'ratio', 'aim']

/** A Markdown table, its columns aligned so that a terminal shows it well too. */
export function table(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name,
    `${number(figure.value)} ${figure.unit}`,
    figure.p50Ms === undefined ? '' : `${number(figure.p50Ms)} / ${number(figure.p99Ms ?? Number.NaN)} ms`,
    figure.limit ? `${number(figure.limit.value)} ${figure.unit}, ${figure.limit.name}` : '',
    figure.ratio === undefined ? '' : figure.ratio.toFixed(2),
    figure.aim ? `${figure.aim.text}: ${figure.aim.met ? 'met' : 'missed'}` : '',
  ])
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  return [line(HEADINGS), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

/** Three digits say all that a measurement like this knows. */
function number(value: number): string {
  if (!Number.isFinite(value)) return 'n/a'
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en-GB').replaceAll(',', ' ')
  return String(Number(value.toPrecision(3)))
}
