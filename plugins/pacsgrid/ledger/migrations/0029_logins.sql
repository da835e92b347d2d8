-- Logins through the OpenID Connect provider, at the gateway and on Airflow's page. `id` is a digest
-- of what the browser keeps, or of the person for the page. `sealed` is the provider's refresh
-- token, encrypted with the vault's key. A login that has ended is kept until its time is over.
CREATE TABLE pacsgrid.login (
    id text PRIMARY KEY,
    place text NOT NULL CHECK (place IN ('gateway', 'page')),
    issuer text NOT NULL,
    subject text NOT NULL,
    user_name text NOT NULL,
    groups text[] NOT NULL,
    sealed bytea NOT NULL,
    made_at timestamptz NOT NULL,
    confirmed_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX login_subject ON pacsgrid.login (issuer, subject);
CREATE INDEX login_live ON pacsgrid.login (ends_at) WHERE ended_at IS NULL;
CREATE INDEX login_over ON pacsgrid.login (ends_at);

-- Members of iRODS groups whom a login made members, and nobody else: whoever was a member before
-- is not listed and stays.
CREATE TABLE pacsgrid.login_member (
    zone text NOT NULL,
    project text NOT NULL,
    user_name text NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    PRIMARY KEY (zone, project, user_name, issuer, subject)
);

-- What happened to logins, by subject; append-only.
CREATE TABLE pacsgrid.login_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer text NOT NULL,
    subject text NOT NULL,
    what text NOT NULL,
    detail text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX login_event_subject ON pacsgrid.login_event (issuer, subject, id);
CREATE TRIGGER login_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON pacsgrid.login_event FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();
