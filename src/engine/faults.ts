/** Codes of sockets, DNS and TLS as Node has them: ECONNREFUSED, EAI_AGAIN, ERR_SSL_…, SELF_SIGNED_CERT_IN_CHAIN. */
const FAULT_CODE =
  /^E[A-Z0-9]+$|^EAI_|^ERR_(SSL|TLS|SOCKET|STREAM)_|^ERR_OSSL|^(UNABLE|CERT|CRL|DEPTH|SELF|INVALID|PATH|HOSTNAME|ERROR_IN)_/
/** What drivers say of a lost, refused or strange connection, in errors without a code. */
const FAULT_WORDS =
  /connection|connect\b|not queryable|timeout|SSL|TLS|SASL|SCRAM|pool after calling end|stream|socket/i

const OUR_FAULTS = [TypeError, RangeError, ReferenceError, SyntaxError, EvalError, URIError]

/**
 * Whether an error that no server answered with means a target that does not answer. A fault of our own code must not
 * look like one. `isDrivers` says that the driver made it for a broken conversation.
 */
export function isConnectionFault(error: unknown, isDrivers: (error: Error) => boolean): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as NodeJS.ErrnoException
  if (typeof code === 'string' && FAULT_CODE.test(code)) return true
  if (OUR_FAULTS.some((fault) => error instanceof fault)) return false
  return isDrivers(error) || FAULT_WORDS.test(error.message)
}
