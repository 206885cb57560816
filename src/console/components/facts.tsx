import { Box, Text } from '@mantine/core'
import type { ReactNode } from 'react'

/** Names and what they stand for, without those that stand for nothing; below each other on a phone and beside each other on a wider page. */
export function Facts({ rows }: { rows: readonly (readonly [string, ReactNode] | undefined)[] }) {
  return (
    <Box component="dl" className="facts">
      {rows.map(
        (row) =>
          row &&
          isSaid(row[1]) && (
            <Box key={row[0]} className="fact">
              <Text component="dt" size="sm" c="dimmed">
                {row[0]}
              </Text>
              <Text component="dd" size="sm" m={0} className="said">
                {row[1]}
              </Text>
            </Box>
          ),
      )}
    </Box>
  )
}

const isSaid = (said: ReactNode): boolean =>
  said !== '' && said !== null && said !== undefined && said !== false
