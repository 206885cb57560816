import type { Ledger } from '../../ledger/db.ts'
import { lockNamed } from '../../ledger/db.ts'
import {
  dropExpiredSecretIds,
  findAppRole,
  isRoleIdTaken,
  removeAppRole,
} from '../../ledger/approle.ts'
import type { Document } from '../../ledger/documents.ts'
import type { Reading } from '../../ledger/reading.ts'
import { BrokerError } from '../../lib/errors.ts'
import { revised } from '../../lib/revised.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { refused, type WireFields } from '../jwt/fields.ts'
import type { AuthMount } from '../login.ts'
import type { CreatedToken } from '../token-create.ts'
import { checkTokenFields } from '../token-fields.ts'
