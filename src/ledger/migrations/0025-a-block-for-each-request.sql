-- Somebody with misuse in two requests has two matters to settle, maybe with officers of two policies.
alter table leasehold.grant_block drop constraint grant_block_pkey, add primary key (requester_id, grant_id);
