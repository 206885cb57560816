import {
  Anchor,
  type CSSVariablesResolver,
  createTheme,
  Modal,
  MultiSelect,
  Notification,
  Select,
} from '@mantine/core'

export const theme = createTheme({
  primaryColor: 'blue',
  primaryShade: 8,
  autoContrast: true,
  // Where white and black are equally easy to read on a colour.
  luminanceThreshold: 0.184,
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    // In a sentence colour alone does not tell a link.
    Anchor: Anchor.extend({ defaultProps: { underline: 'always' } }),
    // Coming to a list by Tab is not choosing from it, and what it opens covers what is below.
    Select: Select.extend({ defaultProps: { openOnFocus: false } }),
    MultiSelect: MultiSelect.extend({ defaultProps: { openOnFocus: false } }),
    Notification: Notification.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } }),
    // A dialog's head is no banner of the page.
    Modal: Modal.extend({
      defaultProps: {
        attributes: { header: { role: 'presentation' } },
        closeButtonProps: { 'aria-label': 'Close' },
      },
    }),
  },
})

/** The library's look but for contrast: some of its text is too pale to be read at night, or by tired eyes. */
export const readableColours: CSSVariablesResolver = ({ colors }) => ({
  variables: {},
  light: {
    ...Object.fromEntries(
      Object.keys(colors).map((name) => [
        `--mantine-color-${name}-light-color`,
        `color-mix(in srgb, var(--mantine-color-${name}-9), black 45%)`,
      ]),
    ),
    '--mantine-color-dimmed': 'var(--mantine-color-gray-7)',
    '--mantine-color-error': 'var(--mantine-color-red-9)',
    '--mantine-color-placeholder': 'var(--mantine-color-gray-7)',
  },
  dark: {
    '--mantine-color-dimmed': 'var(--mantine-color-dark-1)',
    '--mantine-color-error': 'var(--mantine-color-red-4)',
    '--mantine-color-placeholder': 'var(--mantine-color-dark-1)',
  },
})
