-- Create the role that writes analyses into the app's table: it may read, insert and update analysis runs, nothing else.
-- Run this as an administrator; it can be run again. Set the password of the role separately:
--
--     psql "$ADMIN_URL" -v ON_ERROR_STOP=1 -f deploy/link_role.sql
--     psql "$ADMIN_URL" -c '\password americano_link'
--
-- BYPASSRLS: the table has row-level security, and the role does not act for a user of the app.
DO $$
DECLARE
    found regclass := coalesce(to_regclass('analysis_runs'), to_regclass('"AnalysisRun"'));
BEGIN
    IF found IS NULL THEN
        RAISE EXCEPTION 'neither analysis_runs nor "AnalysisRun" is in the search path';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'americano_link') THEN
        CREATE ROLE americano_link LOGIN;
    END IF;
    ALTER ROLE americano_link BYPASSRLS NOSUPERUSER NOCREATEDB NOCREATEROLE;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO americano_link', current_database());
    EXECUTE format(
        'GRANT USAGE ON SCHEMA %s TO americano_link',
        (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = found)
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %s TO americano_link', found);
END
$$;
