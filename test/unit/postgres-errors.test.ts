import { expect, test } from 'vitest'
import { toEngineError } from '../../src/engine/postgres/errors.ts'

const withCode = (code: string, error = new Error('x')) => Object.assign(error, { code })

test.each([
  ['a refused connection', withCode('ECONNREFUSED'), 'unreachable'],
  ['several addresses, all refused', withCode('ECONNREFUSED', new AggregateError([])), 'unreachable'],
  ['a name that is not found', withCode('ENOTFOUND'), 'unreachable'],
  ['DNS that does not answer', withCode('EAI_AGAIN'), 'unreachable'],
  ['a certificate of another', withCode('ERR_TLS_CERT_ALTNAME_INVALID'), 'unreachable'],
  ['a certificate nobody signed', withCode('DEPTH_ZERO_SELF_SIGNED_CERT'), 'unreachable'],
  ['a lost connection', new Error('Connection terminated unexpectedly'), 'unreachable'],
  ['no answer in time', new Error('Query read timeout'), 'unreachable'],
  ['a server that cannot prove itself', new Error('SASL: SCRAM-SERVER-FINAL-MESSAGE: x'), 'unreachable'],
  ['a slip of ours', new TypeError("Cannot read properties of undefined (reading 'connection')"), 'failed'],
  ['a wrong argument of ours', withCode('ERR_INVALID_ARG_TYPE', new TypeError('x')), 'failed'],
  ['some other error', new Error('no such thing'), 'failed'],
  ['what is no error', 'text', 'failed'],
])('%s', (_, error, kind) => {
  expect(toEngineError(error)).toMatchObject({ kind })
})
