import { type Logger, pino, stdTimeFunctions } from 'pino'

export type { Logger }

export type LogFormat = 'json' | 'pretty'

/** One JSON object a line on stderr, or coloured text on a terminal; stdout stays free for answers and the banner. */
export function createLogger(level: string, format: LogFormat): Logger {
  const options = {
    level,
    timestamp: stdTimeFunctions.isoTime,
    // The second net; the first is that secrets travel as `Sensitive` values.
    redact: ['password', '*.password', 'token', '*.token', 'authorization', '*.authorization'],
  }
  if (format === 'json') return pino(options, pino.destination(2))
  return pino({
    ...options,
    transport: { target: 'pino-pretty', options: { destination: 2, ignore: 'pid,hostname' } },
  })
}
