-- The first of two steps that divide the audit trail by years. What was written until now, and what
-- is written until this year ends, becomes one part. That it fits is checked by the next step while
-- others go on writing; this one only begins to refuse what would not fit.
DO $$
BEGIN
    EXECUTE format('ALTER TABLE pacsgrid.audit ADD CONSTRAINT audit_until CHECK (at < %L) NOT VALID',
        (date_trunc('year', (now() + interval '1 month') AT TIME ZONE 'UTC') + interval '1 year')
            AT TIME ZONE 'UTC');
END $$;
