-- What is held is grouped by what is alike, and decided file by file, in groups, or by rules.

-- One row for each kind of what was ever held. Texts are here only where nothing in them identifies.
CREATE TABLE pacsgrid.held_group (
    id text PRIMARY KEY,
    project text NOT NULL,
    whole boolean NOT NULL,
    code text NOT NULL,
    manufacturer text NOT NULL,
    model text NOT NULL,
    modality text NOT NULL,
    sop_class text NOT NULL,
    description text NOT NULL,
    image_rows integer NOT NULL,
    image_columns integer NOT NULL
);

CREATE FUNCTION pacsgrid.held_group_of(project text, whole boolean, code text,
    manufacturer text DEFAULT '', model text DEFAULT '', modality text DEFAULT '',
    sop_class text DEFAULT '', description text DEFAULT '', image_rows integer DEFAULT 0,
    image_columns integer DEFAULT 0) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    made text := 'hg-' || substr(encode(sha256(convert_to(concat_ws(E'\x1f', project, whole, code,
        manufacturer, model, modality, sop_class, description, image_rows, image_columns),
        'UTF8')), 'hex'), 1, 20);
BEGIN
    IF NOT EXISTS (SELECT FROM pacsgrid.held_group g WHERE g.id = made) THEN
        INSERT INTO pacsgrid.held_group VALUES (made, project, whole, code, manufacturer, model,
            modality, sop_class, description, image_rows, image_columns) ON CONFLICT DO NOTHING;
    END IF;
    RETURN made;
END $$;

-- What a steward decided in one act: about files and studies (`review_file`), and with `always`
-- about every later file with these traits. `codes` are the reasons that it overrules.
CREATE TABLE pacsgrid.review (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('approve', 'blank', 'reject', 'again')),
    codes text[] NOT NULL,
    reason text NOT NULL,
    who text NOT NULL,
    profile text NOT NULL DEFAULT '',
    regions jsonb NOT NULL DEFAULT '[]',
    needs_second boolean NOT NULL,
    always boolean NOT NULL DEFAULT false,
    manufacturer text NOT NULL DEFAULT '',
    model text NOT NULL DEFAULT '',
    modality text NOT NULL DEFAULT '',
    sop_class text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    image_rows integer NOT NULL DEFAULT 0,
    image_columns integer NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX review_rule ON pacsgrid.review (project, id) WHERE always;
CREATE INDEX review_second_wanted ON pacsgrid.review (project, id) WHERE needs_second;
-- A file is named by its SHA-256; an empty one stands for the whole study.
CREATE TABLE pacsgrid.review_file (
    review bigint NOT NULL REFERENCES pacsgrid.review,
    ref text NOT NULL REFERENCES pacsgrid.study,
    sha256 text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ref, sha256, review)
);
CREATE INDEX review_file_review ON pacsgrid.review_file (review);
-- The answer of a second steward, where the project asks for one.
CREATE TABLE pacsgrid.review_second (
    review bigint PRIMARY KEY REFERENCES pacsgrid.review,
    who text NOT NULL,
    agrees boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- A rule that was revoked.
CREATE TABLE pacsgrid.review_end (
    review bigint PRIMARY KEY REFERENCES pacsgrid.review,
    who text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION pacsgrid.add_append_only(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.%I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only()', name || '_append_only', name);
END $$;
SELECT pacsgrid.add_append_only(name)
FROM unnest('{review,review_file,review_second,review_end}'::text[]) name;
DROP FUNCTION pacsgrid.add_append_only;

-- On which files a decision took effect.
CREATE TABLE pacsgrid.review_use (
    review bigint NOT NULL REFERENCES pacsgrid.review,
    ref text NOT NULL REFERENCES pacsgrid.study,
    sha256 text NOT NULL,
    PRIMARY KEY (ref, sha256, review)
);
CREATE FUNCTION pacsgrid.count_review_use() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pacsgrid.counter (project, kind, key, number, last)
    SELECT r.project, 'review_use', r.id::text, count(*), clock_timestamp()
    FROM changed c JOIN pacsgrid.review r ON r.id = c.review GROUP BY r.project, r.id;
    RETURN NULL;
END $$;
CREATE TRIGGER review_use_added AFTER INSERT ON pacsgrid.review_use
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_review_use();

-- `decision` is what a steward decided and is not carried out yet.
ALTER TABLE pacsgrid.held_item
    ADD COLUMN alike text,
    ADD COLUMN series text NOT NULL DEFAULT '',
    ADD COLUMN frames integer NOT NULL DEFAULT 0,
    ADD COLUMN decision bigint REFERENCES pacsgrid.review;
ALTER TABLE pacsgrid.study
    ADD COLUMN held_alike text,
    ADD COLUMN held_decision bigint REFERENCES pacsgrid.review;
UPDATE pacsgrid.held_item SET alike = pacsgrid.held_group_of(project, false, code)
WHERE code <> 'rejected';
UPDATE pacsgrid.study SET held_alike = pacsgrid.held_group_of(project, true, held_code)
WHERE state = 'held' AND held_code NOT IN ('rejected', 'withdrawn');

CREATE INDEX held_item_alike ON pacsgrid.held_item (alike, since, ref, sha256)
    WHERE decision IS NULL;
CREATE INDEX held_item_decided ON pacsgrid.held_item (project, ref) WHERE decision IS NOT NULL;
CREATE INDEX held_item_decision ON pacsgrid.held_item (decision) WHERE decision IS NOT NULL;
CREATE INDEX study_alike ON pacsgrid.study (held_alike, changed_at, ref)
    WHERE held_alike IS NOT NULL AND held_decision IS NULL;
CREATE INDEX study_decided ON pacsgrid.study (project, ref) WHERE held_decision IS NOT NULL;
CREATE INDEX study_decision ON pacsgrid.study (held_decision) WHERE held_decision IS NOT NULL;

-- What waits of each group.
CREATE OR REPLACE FUNCTION pacsgrid.set_held_project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT project INTO STRICT NEW.project FROM pacsgrid.study WHERE ref = NEW.ref;
    IF NEW.code <> 'rejected' AND NEW.alike IS NULL THEN
        NEW.alike := pacsgrid.held_group_of(NEW.project, false, NEW.code);
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION pacsgrid.count_held_alike() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO pacsgrid.counter (project, kind, key, number)
        SELECT project, 'held_alike', alike, -count(*) FROM was
        WHERE alike IS NOT NULL AND decision IS NULL GROUP BY project, alike;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO pacsgrid.counter (project, kind, key, number)
        SELECT project, 'held_alike', alike, count(*) FROM became
        WHERE alike IS NOT NULL AND decision IS NULL GROUP BY project, alike;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER held_item_alike_added AFTER INSERT ON pacsgrid.held_item
    REFERENCING NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_held_alike();
CREATE TRIGGER held_item_alike_dropped AFTER DELETE ON pacsgrid.held_item
    REFERENCING OLD TABLE AS was
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_held_alike();
CREATE TRIGGER held_item_alike_changed AFTER UPDATE ON pacsgrid.held_item
    REFERENCING OLD TABLE AS was NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_held_alike();

-- A held study whose held files stand for it has the group '-', which is no group.
CREATE FUNCTION pacsgrid.set_held_alike() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'held' OR NEW.held_code IN ('rejected', 'withdrawn') THEN
        NEW.held_alike := NULL;
        NEW.held_decision := NULL;
    ELSIF NEW.held_alike IS NULL THEN
        NEW.held_alike := pacsgrid.held_group_of(NEW.project, true, NEW.held_code);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER study_alike_new BEFORE INSERT ON pacsgrid.study
    FOR EACH ROW WHEN (NEW.state = 'held') EXECUTE FUNCTION pacsgrid.set_held_alike();
CREATE TRIGGER study_alike BEFORE UPDATE ON pacsgrid.study
    FOR EACH ROW WHEN (NEW.state = 'held' OR OLD.held_alike IS NOT NULL)
    EXECUTE FUNCTION pacsgrid.set_held_alike();
CREATE FUNCTION pacsgrid.count_study_alike() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.held_alike LIKE 'hg-%' AND OLD.held_decision IS NULL THEN
        INSERT INTO pacsgrid.counter (project, kind, key, number)
        VALUES (OLD.project, 'held_alike', OLD.held_alike, -1);
    END IF;
    IF NEW.held_alike LIKE 'hg-%' AND NEW.held_decision IS NULL THEN
        INSERT INTO pacsgrid.counter (project, kind, key, number)
        VALUES (NEW.project, 'held_alike', NEW.held_alike, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER study_alike_counted_new AFTER INSERT ON pacsgrid.study
    FOR EACH ROW WHEN (NEW.held_alike IS NOT NULL) EXECUTE FUNCTION pacsgrid.count_study_alike();
CREATE TRIGGER study_alike_counted AFTER UPDATE ON pacsgrid.study
    FOR EACH ROW WHEN (OLD.held_alike IS DISTINCT FROM NEW.held_alike
        OR OLD.held_decision IS DISTINCT FROM NEW.held_decision)
    EXECUTE FUNCTION pacsgrid.count_study_alike();

ALTER FUNCTION pacsgrid.recount() RENAME TO recount_without_review;
CREATE FUNCTION pacsgrid.recount() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pacsgrid.recount_without_review();
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT project, 'held_alike', alike, count(*) FROM pacsgrid.held_item
    WHERE alike IS NOT NULL AND decision IS NULL GROUP BY project, alike;
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT project, 'held_alike', held_alike, count(*) FROM pacsgrid.study
    WHERE held_alike LIKE 'hg-%' AND held_decision IS NULL GROUP BY project, held_alike;
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT r.project, 'review_use', u.review::text, count(*)
    FROM pacsgrid.review_use u JOIN pacsgrid.review r ON r.id = u.review GROUP BY 1, 3;
END $$;
INSERT INTO pacsgrid.counter (project, kind, key, number)
SELECT project, 'held_alike', alike, count(*) FROM pacsgrid.held_item
WHERE alike IS NOT NULL GROUP BY project, alike;
INSERT INTO pacsgrid.counter (project, kind, key, number)
SELECT project, 'held_alike', held_alike, count(*) FROM pacsgrid.study
WHERE held_alike LIKE 'hg-%' GROUP BY project, held_alike;
