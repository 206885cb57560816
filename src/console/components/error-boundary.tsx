import { Component, type ReactNode } from 'react'
import { ErrorState } from './error-state.tsx'

/** Keeps a page that fails from taking the navigation with it. React has no other form for this than a class. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: undefined as unknown }

  static getDerivedStateFromError(error: unknown) {
    return { error }
  }

  override render() {
    if (this.state.error === undefined) return this.props.children
    return (
      <ErrorState
        error={this.state.error}
        title="This page failed"
        onRetry={() => this.setState({ error: undefined })}
      />
    )
  }
}
