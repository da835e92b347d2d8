-- What the page lists is filtered and sorted by index, whatever the filter.
CREATE INDEX study_source_listed ON pacsgrid.study (project, source, state, changed_at, ref);
DROP INDEX pacsgrid.study_source;
CREATE INDEX study_sized ON pacsgrid.study (project, state, bytes, ref);
CREATE INDEX study_source_sized ON pacsgrid.study (project, source, state, bytes, ref);
CREATE INDEX study_ref_prefix ON pacsgrid.study (ref text_pattern_ops);
CREATE INDEX study_held_code ON pacsgrid.study (project, held_code, changed_at, ref)
    WHERE state = 'held';
CREATE INDEX held_item_code ON pacsgrid.held_item (project, code, since, ref);
CREATE INDEX release_listed ON pacsgrid.release (project, made_at, name, version);

-- Whether a steward decided about a result yet.
ALTER TABLE pacsgrid.result ADD COLUMN decided_at timestamptz;
UPDATE pacsgrid.result r SET decided_at = (SELECT max(at) FROM pacsgrid.decision d
    WHERE d.ref = r.ref AND d.verdict IN ('release-result', 'withhold-result'));
UPDATE pacsgrid.result SET decided_at = created_at WHERE released AND decided_at IS NULL;
ALTER TABLE pacsgrid.result ADD COLUMN standing text NOT NULL GENERATED ALWAYS AS (CASE
    WHEN decided_at IS NULL THEN 'waiting' WHEN released THEN 'released' ELSE 'withheld' END)
    STORED;
CREATE INDEX result_standing ON pacsgrid.result (project, standing, created_at, ref);

-- What a version of a release lists, counted when it is made and when a withdrawn patient leaves it.
ALTER TABLE pacsgrid.release ADD COLUMN subjects bigint NOT NULL DEFAULT 0,
    ADD COLUMN studies bigint NOT NULL DEFAULT 0, ADD COLUMN instances bigint NOT NULL DEFAULT 0,
    ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
CREATE FUNCTION pacsgrid.count_release(text, text, integer) RETURNS void LANGUAGE sql AS $$
    UPDATE pacsgrid.release r SET subjects = c.subjects, studies = c.studies,
        instances = c.instances, bytes = c.bytes
    FROM (SELECT count(DISTINCT s.subject) AS subjects, count(*) AS studies,
        coalesce(sum(s.instances), 0) AS instances, coalesce(sum(s.bytes), 0) AS bytes
        FROM pacsgrid.release_study m JOIN pacsgrid.study s ON s.ref = m.ref AND s.instances > 0
        WHERE m.project = $1 AND m.name = $2 AND m.version = $3) AS c
    WHERE r.project = $1 AND r.name = $2 AND r.version = $3
$$;
SELECT pacsgrid.count_release(project, name, version) FROM pacsgrid.release;
