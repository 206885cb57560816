-- The incident system's word for a requester who is on call is a vote too: with what it rests on, and no vote on more time.

alter table leasehold.grant_vote drop constraint grant_vote_decision_check;
alter table leasehold.grant_vote add constraint grant_vote_decision_check
  check (decision in ('approve', 'deny', 'witness', 'ratify', 'refuse', 'resume', 'abandon', 'on_call'));
alter table leasehold.grant_vote add column evidence jsonb;
alter table leasehold.grant_vote add constraint grant_vote_evidence_check
  check ((decision = 'on_call') = (evidence is not null) and (decision <> 'on_call' or round = 0));
