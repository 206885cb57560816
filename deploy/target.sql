-- A small database to lease users on. psql runs this once, as superuser, when the container is made.
\getenv admin_password TARGET_ADMIN_PASSWORD

-- What leased users get their rights from. They become members; nothing is granted to them by name.
create role shop_readonly nologin;
create role shop_readwrite nologin;

-- Whom Leasehold works as: it makes roles, hands out the two groups, ends sessions, and finds a connection to do so.
create role leasehold_admin login createrole password :'admin_password';
grant shop_readonly, shop_readwrite to leasehold_admin with admin option;
grant pg_signal_backend, pg_use_reserved_connections to leasehold_admin;

create table customer (id integer generated always as identity primary key, name text not null);
create table purchase (
  id integer generated always as identity primary key,
  customer_id integer not null references customer,
  amount_cents integer not null,
  bought_at timestamptz not null default now());
insert into customer (name) values ('Ada'), ('Grace'), ('Barbara');
insert into purchase (customer_id, amount_cents) values (1, 4900), (2, 1250), (1, 99000);

grant select on customer, purchase to shop_readonly, shop_readwrite;
grant insert, update, delete on customer, purchase to shop_readwrite;
