-- Reads the whole trail, but keeps no one from writing. What follows takes no time.
ALTER TABLE pacsgrid.audit VALIDATE CONSTRAINT audit_until;

ALTER TABLE pacsgrid.audit RENAME TO audit_before;
ALTER INDEX pacsgrid.audit_ref RENAME TO audit_before_ref;
ALTER TRIGGER audit_append_only ON pacsgrid.audit_before RENAME TO audit_before_append_only;
ALTER TABLE pacsgrid.audit_before ALTER COLUMN id DROP IDENTITY;
ALTER TABLE pacsgrid.audit_before ALTER COLUMN reason DROP DEFAULT, ALTER COLUMN at DROP DEFAULT;
-- Rows never change: freeze them when they are first vacuumed, and never write them again.
ALTER TABLE pacsgrid.audit_before SET (autovacuum_freeze_min_age = 0);

CREATE TABLE pacsgrid.audit (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    ref text NOT NULL,
    was text,
    became text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
) PARTITION BY RANGE (at);
CREATE INDEX audit_ref ON pacsgrid.audit (ref, id);
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.audit
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();
SELECT setval(pg_get_serial_sequence('pacsgrid.audit', 'id'),
              coalesce((SELECT max(id) FROM pacsgrid.audit_before), 0) + 1, false);

-- The parts by when they end, and the file that each of those is in that were taken out. Written by
-- the owner only.
CREATE TABLE pacsgrid.audit_part (
    name text PRIMARY KEY,
    until timestamptz NOT NULL UNIQUE,
    rows bigint,
    file text,
    sha256 text,
    archived_at timestamptz,
    CHECK ((archived_at IS NULL) = (sha256 IS NULL))
);

DO $$
DECLARE
    bound timestamptz;
    held text := (SELECT pg_get_constraintdef(oid) FROM pg_constraint
                  WHERE conrelid = 'pacsgrid.audit_before'::regclass AND conname = 'audit_until');
BEGIN
    bound := substring(held FROM '''([^'']+)''')::timestamptz;
    EXECUTE format('ALTER TABLE pacsgrid.audit ATTACH PARTITION pacsgrid.audit_before'
                   ' FOR VALUES FROM (MINVALUE) TO (%L)', bound);
    INSERT INTO pacsgrid.audit_part (name, until) VALUES ('audit_before', bound);
END $$;

-- What no part is for yet, so that no entry is ever refused.
CREATE TABLE pacsgrid.audit_rest PARTITION OF pacsgrid.audit DEFAULT
    WITH (autovacuum_freeze_min_age = 0);
CREATE TRIGGER audit_rest_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.audit_rest
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();

-- Makes a part for each year that begins within some years from now; returns how many were made.
CREATE FUNCTION pacsgrid.extend_audit(years integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    begins timestamptz := (SELECT max(until) FROM pacsgrid.audit_part);
    ends timestamptz;
    part text;
    made integer := 0;
BEGIN
    WHILE begins < now() + make_interval(years => years) LOOP
        ends := (begins AT TIME ZONE 'UTC' + interval '1 year') AT TIME ZONE 'UTC';
        part := 'audit_' || extract(year FROM begins AT TIME ZONE 'UTC');
        -- A year whose entries went to the rest stays there.
        IF NOT EXISTS (SELECT FROM pacsgrid.audit_rest WHERE at >= begins AND at < ends) THEN
            EXECUTE format('CREATE TABLE pacsgrid.%I PARTITION OF pacsgrid.audit FOR VALUES'
                ' FROM (%L) TO (%L) WITH (autovacuum_freeze_min_age = 0)', part, begins, ends);
            EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.%I'
                ' FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only()',
                part || '_append_only', part);
            INSERT INTO pacsgrid.audit_part (name, until) VALUES (part, ends);
            made := made + 1;
        END IF;
        begins := ends;
    END LOOP;
    RETURN made;
END $$;
SELECT pacsgrid.extend_audit(5);
