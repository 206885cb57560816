-- Counts changes of what requests are decided by. Who read it together with a token may keep what it reads of these
-- tables until it sees another number, so a change shows at the next request, on every server.
create table leasehold.revision (
  only_row boolean primary key default true check (only_row),
  number bigint not null
);
insert into leasehold.revision (number) values (1);

create function leasehold.count_revision() returns trigger language plpgsql as $$
begin
  update leasehold.revision set number = number + 1;
  return null;
end $$;

create trigger counted after insert or update or delete on leasehold.mount
  for each statement execute function leasehold.count_revision();
create trigger counted after insert or update or delete on leasehold.target
  for each statement execute function leasehold.count_revision();
create trigger counted after insert or update or delete on leasehold.role
  for each statement execute function leasehold.count_revision();
