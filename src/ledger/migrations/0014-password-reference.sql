-- Where the password of the admin account is, when it is not in the secret of `secret_name`: "vault:secret/data/db#password".
alter table leasehold.target add column password_reference text;
