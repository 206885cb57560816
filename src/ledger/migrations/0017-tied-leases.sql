-- Leases that end with something else on their target; few, and looked for all day.
create index lease_tied on leasehold.lease (target_id)
where state = 'active' and asked ? 'bound_object_uid';
