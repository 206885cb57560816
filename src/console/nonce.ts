import { setNonce } from 'get-nonce'

/** What allows `<style>` elements on this load of the page, and nothing else does. */
export const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? ''

// The dialogs' scroll lock asks there.
setNonce(nonce)
