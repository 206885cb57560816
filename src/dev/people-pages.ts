import { createHash } from 'node:crypto'
import { PEOPLE, type Person, PROOFS } from './people-known.ts'

/** The pages of the sample people's provider: plain HTML, nothing of them runs in the browser. */

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#c4c8cf, #4a505a); --soft: light-dark(#4d5562, #b4bac4) }
body { background: Canvas; color: CanvasText; font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 0 auto; padding: 1.5rem 1rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
h2 { font-size: 1.125rem; margin: 0 }
p { margin: .25rem 0 .75rem; overflow-wrap: anywhere }
section { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0 }
form { display: flex; flex-wrap: wrap; gap: .5rem }
button { font: inherit; padding: .5rem .75rem; min-height: 2.75rem; border: 1px solid var(--line);
  border-radius: .375rem; background: ButtonFace; color: ButtonText; cursor: pointer }
:focus-visible { outline: 3px solid light-dark(#1c5fd0, #8ab8ff); outline-offset: 2px }
.soft { color: var(--soft) }
.heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
`

const STYLE_HASH = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`

/** `origin`: where a form may lead in the end, besides back to us. */
export const contentSecurity = (origin?: string): string =>
  [
    "default-src 'none'",
    `style-src ${STYLE_HASH}`,
    // Browsers hold the redirect after a form to this as well.
    `form-action 'self'${origin === undefined ? '' : ` ${origin}`}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; ')

/** Each button stands for a person and a proof; a form posts both to `action`. */
export const signInPage = ({ action, again }: { action: string; again: boolean }): string =>
  page(
    'Sign in as a sample person',
    `<p>This provider is part of Leasehold's embedded mode. It asks for no password: choose whom to play. To play
several people at once, use a private window for each.</p>
${again ? '<p>Leasehold asks for a fresh sign-in, so please choose again.</p>\n' : ''}${PEOPLE.map((person) => card(person, action)).join('\n')}
<form method="post" action="${escaped(action)}"><button name="person" value="">Cancel</button></form>`,
  )

export const problemPage = (text: string): string =>
  page('You cannot sign in here now', `<p>${escaped(text)}</p><p>Go back to Leasehold and sign in again.</p>`)

const card = ({ sub, name, groups, work }: Person, action: string): string =>
  `<section aria-labelledby="${sub}">
<h2 id="${sub}">${escaped(name)}</h2>
<p>${escaped(work)}<br><span class="soft">Groups: ${escaped(groups.join(', '))}</span></p>
<form method="post" action="${escaped(action)}"><input type="hidden" name="person" value="${sub}">
${PROOFS.map(
  ({ id, label }) =>
    `<button name="proof" value="${id}">${label}<span class="heard"> as ${escaped(name)}</span></button>`,
).join('\n')}
</form>
</section>`

const page = (title: string, body: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} - Leasehold</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign)
