-- Zones that did not answer: since when, how often they were tried, when to try again.
CREATE TABLE pacsgrid.zone_absence (
    zone text PRIMARY KEY,
    since timestamptz NOT NULL,
    tries integer NOT NULL,
    next_try timestamptz NOT NULL
);
CREATE INDEX bad_replica_resource ON pacsgrid.bad_replica (zone, resource, seen_at);

-- How many instances of a study have how many good replicas in a zone. Triggers update it with
-- every change of proofs, so that planning reads a few rows per study, not one per replica.
CREATE TABLE pacsgrid.holding (
    ref text NOT NULL REFERENCES pacsgrid.study,
    zone text NOT NULL,
    good integer NOT NULL,
    instances integer NOT NULL,
    bad integer NOT NULL,
    oldest timestamptz NOT NULL,
    PRIMARY KEY (ref, zone, good)
);

CREATE FUNCTION pacsgrid.count_holding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM pacsgrid.holding h USING (SELECT DISTINCT ref, zone FROM changed) c
    WHERE h.ref = c.ref AND h.zone = c.zone;
    INSERT INTO pacsgrid.holding (ref, zone, good, instances, bad, oldest)
    SELECT ref, zone, good, count(*), sum(bad), min(oldest) FROM (
        SELECT p.ref, p.zone, count(*) FILTER (WHERE p.good) AS good,
               count(*) FILTER (WHERE NOT p.good) AS bad, min(p.verified_at) AS oldest
        FROM pacsgrid.proof p JOIN (SELECT DISTINCT ref, zone FROM changed) c USING (ref, zone)
        GROUP BY p.ref, p.zone, p.sop_uid
    ) AS object GROUP BY ref, zone, good;
    RETURN NULL;
END $$;
CREATE TRIGGER proof_added AFTER INSERT ON pacsgrid.proof
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_holding();
CREATE TRIGGER proof_dropped AFTER DELETE ON pacsgrid.proof
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_holding();

INSERT INTO pacsgrid.holding (ref, zone, good, instances, bad, oldest)
SELECT ref, zone, good, count(*), sum(bad), min(oldest) FROM (
    SELECT ref, zone, count(*) FILTER (WHERE p.good) AS good,
           count(*) FILTER (WHERE NOT p.good) AS bad, min(verified_at) AS oldest
    FROM pacsgrid.proof p GROUP BY ref, zone, sop_uid
) AS object GROUP BY ref, zone, good;
