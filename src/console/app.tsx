import { Center, Container, Loader } from '@mantine/core'
import { Suspense } from 'react'
import { Route, Routes } from 'react-router'
import { EmptyState } from './components/empty-state.tsx'
import { ErrorBoundary } from './components/error-boundary.tsx'
import { ErrorState } from './components/error-state.tsx'
import { Loading } from './components/loading.tsx'
import { Page } from './components/page.tsx'
import { SignIn } from './pages/sign-in.tsx'
import { ROUTES } from './routes.tsx'
import { useSessionQuery } from './session.ts'
import { Shell } from './shell.tsx'

/** The page of the address for who is signed in; the sign-in for anyone else, whatever the address. */
export function App() {
  const session = useSessionQuery()
  if (session.isPending) {
    return (
      <Center component="main" h="100vh">
        <Loader aria-label="Loading" />
      </Center>
    )
  }
  if (session.data === null) return <SignIn />
  if (session.data === undefined) {
    return (
      <Container component="main" size="xs" py="xl">
        <ErrorState
          error={session.error}
          title="The broker cannot be reached"
          onRetry={() => void session.refetch()}
        />
      </Container>
    )
  }
  return (
    <Shell session={session.data}>
      <ErrorBoundary>
        <Suspense fallback={<Loading />}>
          <Routes>
            {ROUTES.map(({ path, page: Contents }) => (
              <Route key={path} path={path} element={<Contents />} />
            ))}
            <Route path="*" element={<NotFound />} />
          </Routes>
        </Suspense>
      </ErrorBoundary>
    </Shell>
  )
}

function NotFound() {
  return (
    <Page title="No such page">
      <EmptyState title="There is no page at this address">
        The navigation leads to those there are.
      </EmptyState>
    </Page>
  )
}
