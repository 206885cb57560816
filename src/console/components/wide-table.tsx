import { Table } from '@mantine/core'
import type { ReactNode } from 'react'

/** Below this many pixels its columns are scrolled to, with the keyboard too. */
const MIN_WIDTH = 860

/** A table for screens on which its columns have room. */
export const WideTable = ({ label, children }: { label: string; children: ReactNode }) => (
  <Table.ScrollContainer minWidth={MIN_WIDTH} type="native" tabIndex={0} role="region" aria-label={label}>
    <Table verticalSpacing="xs" highlightOnHover tabularNums>
      {children}
    </Table>
  </Table.ScrollContainer>
)
