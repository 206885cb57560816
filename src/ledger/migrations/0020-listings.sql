-- What lists and searches go by, so that a page costs what is on it and not what there is.

-- The id too: leases that one token bounds all end at one time, and of those as well a page is read alone.
drop index leasehold.lease_due;
create index lease_due on leasehold.lease (target_id, next_action_at, id) where next_action_at is not null;

-- `what.path` of an event, as its text has it. It is the last member of this name there: members stand in order, and
-- who asked has none. No more than 128 characters, and none behind a mark that JSON escapes: enough to find it by.
create function leasehold.audit_path(body text) returns text language sql immutable parallel safe
as $$ select left(split_part(reverse(split_part(reverse(body), '":"htap"', 1)), '"', 1), 128) $$;
create index audit_event_path on leasehold.audit_event (leasehold.audit_path(body) collate "C", at_time)
  where strpos(body, '"path":"') > 0;

-- `details.grant_id` of an event, likewise; few have one.
create function leasehold.audit_grant(body text) returns text language sql immutable parallel safe
as $$ select left(split_part(split_part(body, '"grant_id":"', 2), '"', 1), 128) $$;
create index audit_event_grant on leasehold.audit_event (leasehold.audit_grant(body) collate "C", at_time)
  where strpos(body, '"grant_id":"') > 0;
