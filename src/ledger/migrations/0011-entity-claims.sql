-- Roles of one mount may know their callers by different claims, and one claim's text is not another's.
alter table leasehold.entity
  -- Which claim the subject is the value of, as a JSON pointer. Empty for `sub`, and where there is only one way.
  add column claim text not null default '',
  drop constraint entity_mount_id_subject_key,
  add unique (mount_id, claim, subject);
