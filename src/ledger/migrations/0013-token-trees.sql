-- Whom a token counts as that was made under another: the accessor of the token its tree begins with. Null: itself. Root
-- begins no tree, or all that is made under it would be one and the same.
alter table leasehold.token add column tree_id text;
with recursive below as (
  select k.id, coalesce(p.accessor, encode(p.id, 'hex')) as tree_id
  from leasehold.token k
  join leasehold.token p on p.id = k.parent_id
  left join leasehold.token above on above.id = p.parent_id
  where not 'root' = any(k.policies) and not 'root' = any(p.policies)
    and (above.id is null or 'root' = any(above.policies))
  union all
  select k.id, b.tree_id
  from below b join leasehold.token k on k.parent_id = b.id
  where not 'root' = any(k.policies)
)
update leasehold.token k set tree_id = b.tree_id from below b where b.id = k.id;

-- Whose answer waits: nobody may keep more than so much. Of those that wait already nobody knows.
alter table leasehold.wrapped add column principal_id text not null default '';
create index wrapped_principal on leasehold.wrapped (principal_id);
