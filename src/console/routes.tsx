import {
  IconChartLine,
  IconChecklist,
  IconFileSearch,
  IconInbox,
  IconKey,
  IconList,
  IconServer,
  IconStopwatch,
  type TablerIcon,
} from '@tabler/icons-react'
import { type ComponentType, type LazyExoticComponent, lazy } from 'react'
import type { Session } from './session.ts'

export type PageRoute = {
  /** Below `/ui`. */
  path: string
  page: LazyExoticComponent<ComponentType>
  /** In the navigation: absent for pages that one comes to from others. */
  nav?: { label: string; icon: TablerIcon; shownTo: (may: Session['may']) => boolean }
}

/** Every page there is, in the order of the navigation. */
export const ROUTES: readonly PageRoute[] = [
  {
    path: '/',
    page: lazy(() => import('./pages/approvals.tsx')),
    nav: { label: 'Approvals', icon: IconInbox, shownTo: (may) => may.break_glass },
  },
  { path: '/requests/:id', page: lazy(() => import('./pages/request.tsx')) },
  {
    path: '/access',
    page: lazy(() => import('./pages/access.tsx')),
    nav: { label: 'My access', icon: IconKey, shownTo: () => true },
  },
  { path: '/access/ask', page: lazy(() => import('./pages/ask.tsx')) },
  { path: '/security-keys', page: lazy(() => import('./pages/security-keys.tsx')) },
  {
    path: '/leases',
    page: lazy(() => import('./pages/leases.tsx')),
    nav: { label: 'Leases', icon: IconList, shownTo: () => true },
  },
  { path: '/leases/:id', page: lazy(() => import('./pages/lease-detail.tsx')) },
  {
    path: '/targets',
    page: lazy(() => import('./pages/targets.tsx')),
    nav: { label: 'Targets', icon: IconServer, shownTo: (may) => may.targets },
  },
  {
    path: '/reviews',
    page: lazy(() => import('./pages/reviews.tsx')),
    nav: { label: 'Reviews', icon: IconChecklist, shownTo: (may) => may.break_glass },
  },
  {
    path: '/drills',
    page: lazy(() => import('./pages/drills.tsx')),
    nav: { label: 'Drills', icon: IconStopwatch, shownTo: (may) => may.break_glass },
  },
  {
    path: '/audit',
    page: lazy(() => import('./pages/audit.tsx')),
    nav: { label: 'Audit', icon: IconFileSearch, shownTo: (may) => may.audit },
  },
  {
    path: '/overview',
    page: lazy(() => import('./pages/overview.tsx')),
    nav: { label: 'Overview', icon: IconChartLine, shownTo: (may) => may.summary },
  },
]
