/** An instant to the second, rounded up, in UTC and the dialect's layout: `2006-01-02 15:04:05-0700`. */
export const timestamp = (atMs: number): string => {
  const text = new Date(Math.ceil(atMs / 1_000) * 1_000).toISOString()
  return `${text.slice(0, 10)} ${text.slice(11, 19)}+0000`
}
