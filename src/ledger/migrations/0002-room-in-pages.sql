-- An ending writes each lease's row four times or more, and adds to it. Room in its page lets those writes leave the
-- indexes alone; the sizes are those of a row when issued and when ended.
alter table leasehold.lease set (fillfactor = 30);
