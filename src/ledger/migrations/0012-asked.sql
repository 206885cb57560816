-- What a lease asked for beyond its role (for Kubernetes a namespace, audiences), as its engine checked it.
alter table leasehold.lease add column asked jsonb not null default '{}';
