-- What holds for all control groups of the installation; no row where nobody has said anything.
create table leasehold.control_group_settings (
  only_row boolean primary key default true check (only_row),
  -- The longest that the token of a request waits for people and for whoever asked.
  max_ttl_seconds bigint not null check (max_ttl_seconds > 0)
);
