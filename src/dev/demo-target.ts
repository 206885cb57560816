import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Broker } from '../compose.ts'
import { sensitive } from '../lib/sensitive.ts'
import type { PostgresServer } from './embedded-postgres.ts'
import { asSuperuser, exists } from './ledger-database.ts'

/** The names a newcomer meets. */
export const DEMO = {
  database: 'shop',
  mount: 'database/',
  connection: 'demo',
  readonlyRole: 'demo-readonly',
  readwriteRole: 'demo-readwrite',
} as const

const ADMIN = 'shop_broker'
const GROUPS = ['shop_readonly', 'shop_readwrite']

/** Makes the demo database and enrols it, once; whatever its owner changes afterwards stays changed. */
export async function seedDemo(broker: Broker, postgres: PostgresServer): Promise<void> {
  if (await broker.mounts.find(DEMO.mount)) return
  const password = randomBytes(24).toString('base64url')
  await makeShop(postgres, password)
  await broker.mounts.enable(DEMO.mount, 'database', { description: 'the demo database' })
  const mount = await broker.mounts.find(DEMO.mount)
  if (!mount) throw new Error('the demo mount was disabled while it was being made')

  await broker.enrolment.write(mount, DEMO.connection, {
    plugin: 'postgresql-database-plugin',
    verify: true,
    allowedRoles: ['demo-*'],
    password: sensitive(password),
    fields: { connection_url: urlTemplate(postgres), username: ADMIN, environment: 'dev' },
  })
  for (const [name, group] of [
    [DEMO.readonlyRole, GROUPS[0]],
    [DEMO.readwriteRole, GROUPS[1]],
  ] as const) {
    await broker.roles.write(mount, name, {
      dbName: DEMO.connection,
      defaultTtlSeconds: 60,
      maxTtlSeconds: 600,
      fields: { member_of: [group], environment: 'dev' },
    })
  }
}

/** The connection URL with the dialect's slots where user and password go. */
function urlTemplate(postgres: PostgresServer): string {
  const url = postgres.url(DEMO.database, { name: 'USER', password: 'SECRET' })
  return url.replace('USER', '{{username}}').replace('SECRET', '{{password}}')
}

async function makeShop(postgres: PostgresServer, adminPassword: string): Promise<void> {
  await asSuperuser(postgres, 'postgres', async (client) => {
    if (!(await exists(client, 'select from pg_roles where rolname = $1', ADMIN))) {
      await client.query(`create role ${ADMIN} login createrole`)
    }
    await client.query(`alter role ${ADMIN} password ${pg.escapeLiteral(adminPassword)}`)
    for (const group of GROUPS) {
      if (!(await exists(client, 'select from pg_roles where rolname = $1', group))) {
        await client.query(`create role ${group} nologin`)
      }
      await client.query(`grant ${group} to ${ADMIN} with admin option`)
    }
    await client.query(`grant pg_signal_backend to ${ADMIN}`)
    if (!(await exists(client, 'select from pg_database where datname = $1', DEMO.database))) {
      await client.query(`create database ${DEMO.database}`)
    }
  })
  await asSuperuser(postgres, DEMO.database, async (client) => {
    if (await exists(client, 'select from pg_class where relname = $1', 'customer')) return
    await client.query(SHOP)
  })
}

const SHOP = `
  begin;
  create table customer (id integer generated always as identity primary key, name text not null);
  create table product (id integer generated always as identity primary key, name text not null, price_cents integer not null);
  create table purchase (
    id integer generated always as identity primary key,
    customer_id integer not null references customer,
    product_id integer not null references product,
    bought_at timestamptz not null default now());
  insert into customer (name) values ('Ada'), ('Grace'), ('Edsger'), ('Barbara');
  insert into product (name, price_cents) values ('Slide rule', 4900), ('Punched cards, 500', 1250), ('Core memory', 99000);
  insert into purchase (customer_id, product_id) values (1, 3), (2, 2), (3, 1), (4, 2), (1, 2);
  grant select on all tables in schema public to shop_readonly, shop_readwrite;
  grant insert, update, delete on all tables in schema public to shop_readwrite;
  commit`
