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
