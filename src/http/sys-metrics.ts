import { text } from './fields.ts'
import { handle, type Route } from './route.ts'

type Numbers = {
  text(): Promise<{ type: string; body: string }>
  json(): Promise<Record<string, unknown>>
}

/** What Prometheus and those who speak its formats say they accept. */
const SCRAPER = /application\/openmetrics-text|prometheus/

/** `sys/metrics`: as text for a scraper or who asks for it, else in the dialect's JSON. Relative to `sys/`. */
export const sysMetricsRoutes = (numbers: Numbers): Route[] => [
  {
    path: 'metrics',
    on: {
      read: handle({ format: text }, async ({ fields: { format }, accept }) => {
        if (format === 'prometheus' || (!format && SCRAPER.test(accept))) {
          return { text: await numbers.text() }
        }
        if (!format) return { bare: await numbers.json() }
        const body = `metric response format ${JSON.stringify(format)} unknown`
        return { status: 400, text: { type: 'text/plain', body } }
      }),
    },
  },
]
