import { AppShell, Badge, Burger, Group, NavLink, ScrollArea, Text, VisuallyHidden } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { type ReactNode, useEffect, useRef } from 'react'
import { NavLink as RouterLink, useLocation } from 'react-router'
import { Account } from './components/account.tsx'
import { ConnectionBanner } from './components/connection-banner.tsx'
import { SchemeToggle } from './components/scheme-toggle.tsx'
import { useGrant, useGrants } from './grants.ts'
import { useLiveUpdates } from './live.ts'
import { ROUTES } from './routes.tsx'
import type { Session } from './session.ts'

/** What is around every page: navigation, who is signed in, whether the server is still heard. */
export function Shell({ session, children }: { session: Session; children: ReactNode }) {
  const [opened, { toggle, close }] = useDisclosure(false)
  const main = useRef<HTMLElement>(null)
  const { pathname } = useLocation()
  const at = usePlace(pathname, session)
  const waiting = useWaiting(session)
  useLiveUpdates()
  useFocusOnArrival(pathname, main, close)
  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 200, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding={{ base: 'sm', sm: 'md' }}
    >
      <a className="skip-link" href="#main">
        Skip to the page
      </a>
      <AppShell.Header>
        <Group h="100%" px="sm" justify="space-between" wrap="nowrap" gap="xs">
          <Group gap="xs" wrap="nowrap">
            <Burger
              opened={opened}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label={opened ? 'Close the navigation' : 'Open the navigation'}
              aria-expanded={opened}
            />
            <Text fw={700}>Leasehold</Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <SchemeToggle />
            <Account session={session} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages">
        <AppShell.Section grow component={ScrollArea}>
          {ROUTES.map(({ path, nav }) =>
            nav?.shownTo(session.may) ? (
              <NavLink
                key={path}
                component={RouterLink}
                to={path}
                end={path === '/'}
                label={nav.label}
                rightSection={
                  waiting[path] ? (
                    <Badge size="sm" variant="default">
                      {waiting[path]}
                      <VisuallyHidden> waiting</VisuallyHidden>
                    </Badge>
                  ) : undefined
                }
                leftSection={<nav.icon size={18} aria-hidden />}
                active={isAt(at, path)}
                onClick={close}
              />
            ) : null,
          )}
        </AppShell.Section>
      </AppShell.Navbar>
      <AppShell.Main id="main" ref={main} tabIndex={-1} style={{ outline: 'none' }}>
        <ConnectionBanner />
        {children}
      </AppShell.Main>
    </AppShell>
  )
}

const isAt = (pathname: string, path: string) =>
  path === '/' ? pathname === '/' || pathname.startsWith('/requests/') : pathname.startsWith(path)

/** Where in the navigation one is: a request of one's own is part of one's access. */
function usePlace(pathname: string, { principal_id }: Session): string {
  const id = pathname.startsWith('/requests/') ? pathname.slice('/requests/'.length) : ''
  const { data } = useGrant(id)
  return id !== '' && data?.requester.id === principal_id ? '/access' : pathname
}

/** How much waits on a page, by its path; nothing for who has no part in it. */
function useWaiting({ may }: Session): Partial<Record<string, number>> {
  const counts = useGrants({ view: 'inbox' }, may.break_glass).data?.counts
  return counts ? { '/': counts.inbox, '/reviews': counts.reviews_due + counts.reviews_overdue } : {}
}

/** A new page starts at its top, and the next Tab in it; not on the first load, where the browser does so by itself. */
function useFocusOnArrival(pathname: string, main: { current: HTMLElement | null }, close: () => void): void {
  const last = useRef(pathname)
  useEffect(() => {
    if (last.current === pathname) return
    last.current = pathname
    close()
    window.scrollTo(0, 0)
    main.current?.focus({ preventScroll: true })
  }, [pathname, main, close])
}
